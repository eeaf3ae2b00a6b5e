"""What becomes of an item: its outcome as a result of the history, with a large output in the blob store."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import Final, cast

import orjson

from eldermesh.contract.canonical import canonical_bytes
from services.router.engines.chunks.fact_result import inline_result, stored_result
from services.router.engines.chunks.result_publisher import TimedResult
from services.router.engines.chunks.runner_parts import ChunkRunnerParts
from services.router.engines.chunks.spec_cache import JobSpec
from services.router.engines.chunks.task import ChunkTask
from services.router.engines.python.item_host.outputs import describe
from shared.backoff.patience import with_patience
from shared.errors import ConfigurationError, RetryableError
from shared.facts.jobs import FactResult
from shared.logs.exceptions import ends_the_task
from shared.workloads import ItemFailed, ItemOutcome, ItemSucceeded

_EXPONENT: Final = re.compile(rb"[0-9][eE]")

_log = logging.getLogger(__name__)


class ItemResults:
    """Results of the items of one run."""

    def __init__(self, parts: ChunkRunnerParts, task: ChunkTask, spec: JobSpec) -> None:
        self._parts = parts
        self._task = task
        self._tenant = spec.tenant

    async def of(self, outcome: ItemOutcome, index: int, *, seconds: float, ended_at: int) -> TimedResult:
        """The outcome as a result; an invalid outcome of a plug-in fails its item alone.

        Args:
            outcome: of the item.
            index: of the item.
            seconds: what its run took, for where the outcome has no duration of its own.
            ended_at: when that ended, in milliseconds since 1970.

        Raises:
            RetryableError: the blob store did not take the output for `patience_seconds`.
        """
        try:
            result = await self._result(outcome, index, seconds)
        except RetryableError:
            raise
        except ConfigurationError as error:
            outcome = ItemFailed("internal", str(error))
            result = await self._result(outcome, index, seconds)
        except BaseException as error:
            if ends_the_task(error):
                raise
            _log.exception("item %d of chunk %s: its outcome cannot be told", index, self._task.chunk)
            outcome = ItemFailed("internal", describe(error))
            result = await self._result(outcome, index, seconds)
        return TimedResult(result, ended_at - round(seconds * 1000), ended_at, _payload_bytes(result, outcome))

    async def _result(self, outcome: ItemOutcome, index: int, seconds: float) -> FactResult:
        attempt = self._task.attempt
        inline = inline_result(outcome, index=index, attempt=attempt, measured_seconds=seconds)
        if inline is not None:
            return inline
        chunk = self._task.chunk_id
        put = partial(
            stored_result,
            cast("ItemSucceeded", outcome),
            index=index,
            attempt=attempt,
            measured_seconds=seconds,
            blob_name=f"{self._tenant}/{chunk.job_id}/{chunk.stage}/{chunk.epoch}/{index}.json",
            blobs=self._parts.blobs,
        )
        return await with_patience(put, seconds=self._parts.patience_seconds, clock=self._parts.clock)


def _payload_bytes(result: FactResult, outcome: ItemOutcome) -> int:
    """What stands of it in records, in the longest form: the public one is that of RFC 8785, which has 1e20 in full."""
    if result.output_url is not None:
        return len(result.output_url)
    if result.status == "succeeded" and isinstance(outcome, ItemSucceeded):
        text = outcome.output_json
        return len(canonical_bytes(result.output)) if _EXPONENT.search(text) else len(text)
    return len(orjson.dumps(result.error_message))
