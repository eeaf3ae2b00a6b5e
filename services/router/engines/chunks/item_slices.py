"""The items of a chunk, run many at a time, where what an item costs by itself would exceed what it does."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import aclosing
from typing import Final

from opentelemetry.context import get_current

from services.router.engines.chunks.fact_result import ItemPausedError
from services.router.engines.chunks.item_calls import concerns_the_run, item_call
from services.router.engines.chunks.item_results import ItemResults
from services.router.engines.chunks.item_spans import ItemSpans
from services.router.engines.chunks.result_publisher import ResultPublisher
from services.router.engines.chunks.runner_metrics import RunnerMetrics
from services.router.engines.chunks.runner_parts import ChunkRunnerParts
from services.router.engines.chunks.spec_cache import JobSpec
from services.router.engines.chunks.task import ChunkTask
from services.router.engines.python.item_host import describe
from shared.backoff.patience import with_patience
from shared.errors import RetryableError, StillRunningError
from shared.facts.jobs import FactResult
from shared.history.runs.lease import Lease
from shared.workloads import ItemCall, ItemFailed, ItemOutcome, PauseJobError, SlicedRun

SLICE_SECONDS: Final = 0.1
"""What a slice is to take."""

MAX_SLICE_ITEMS: Final = 5_000

_LONGEST = 10
"""How many times longer a slice is whose items run at once."""

_log = logging.getLogger(__name__)


class SliceSize:
    """How many items the next slice has: one while nothing is known of what an item takes.

    Args:
        at_once: how many run at a time. Their slices are longer: at the end of each, ever fewer run.
    """

    def __init__(self, at_once: int = 1) -> None:
        self._seconds = SLICE_SECONDS * min(at_once, _LONGEST)
        self.items = at_once

    def ran(self, items: int, seconds: float) -> None:
        """So many items have just taken so long together."""
        if items:
            self.items = max(1, min(MAX_SLICE_ITEMS, int(self._seconds * items / max(seconds, 1e-9))))


class ItemSlices:
    """Runs the items of one run in slices."""

    def __init__(
        self,
        parts: ChunkRunnerParts,
        task: ChunkTask,
        lease: Lease,
        metrics: RunnerMetrics,
        spec: JobSpec,
        publisher: ResultPublisher,
    ) -> None:
        self._parts = parts
        self._task = task
        self._lease = lease
        self._metrics = metrics
        self._workload = spec.workload
        self._items = spec.items or ()
        self._publisher = publisher
        self._results = ItemResults(parts, task, spec)
        self._spans = ItemSpans(task, spec, parts.settings.item_spans)

    async def run(self, run: SlicedRun, missing: tuple[int, ...]) -> None:
        """Run the missing items, and give each result to the publisher.

        Raises:
            LeaseLostError, RunKilledError: stop; nothing more may be published.
            ItemPausedError: stop and pause the job; the publisher has the results so far.
            RetryableError: Kafka, the blob store, or something that the workload needs did not answer.
        """
        waiting, size = deque(missing), SliceSize(run.at_once)

        async def ask() -> RetryableError | None:
            return await self._slice(run, waiting, size)

        while waiting:
            self._lease.check()
            lasting = await with_patience(ask, seconds=self._parts.patience_seconds, clock=self._parts.clock)
            if lasting is not None:
                raise lasting

    async def _slice(self, run: SlicedRun, waiting: deque[int], size: SliceSize) -> RetryableError | None:
        """Run some items that wait, and take them off. Returns what it is no use to ask again for.

        Raises:
            RetryableError: the workload cannot run an item now; what has been run is taken off.
        """
        indexes = [waiting.popleft() for _ in range(min(size.items, len(waiting)))]
        calls = [item_call(self._task, index, self._items[index]) for index in indexes]
        left = {call.index: call for call in calls}
        clock = self._parts.clock
        began = clock.monotonic()
        try:
            async with aclosing(run.slice(calls, self._begin_until)) as given:
                async for outcomes in given:
                    try:
                        await self._take(outcomes, left)
                    except RetryableError as error:
                        return error
        except PauseJobError as pause:
            paused = next(iter(left.values()), calls[-1])
            raise ItemPausedError(paused.index, paused.attempt, pause) from pause
        except StillRunningError as error:  # a second run of it must not begin beside it
            return error
        except BaseException as error:
            if concerns_the_run(error):
                raise
            _log.exception("chunk %s: its workload failed", self._task.chunk)
            # A plug-in's own failure fails one item alone.
            await self._take([(call, ItemFailed("internal", describe(error))) for call in [*left.values()][:1]], left)
        finally:
            waiting.extendleft(reversed(left))
        size.ran(len(indexes) - len(left), clock.monotonic() - began)
        return None

    def _begin_until(self) -> float:
        """Half a heartbeat from now, so that a lease that was lost meanwhile is noticed between two slices."""
        return self._lease.ends_at(at_most_seconds=self._parts.settings.heartbeat_seconds / 2)

    async def _take(self, outcomes: list[tuple[ItemCall, ItemOutcome]], left: dict[int, ItemCall]) -> None:
        """Make results of outcomes that have just come, give them to the publisher, and take their items off."""
        now, context = self._parts.clock.now_ms(), get_current()
        results: list[FactResult] = []
        for call, outcome in outcomes:
            del left[call.index]
            timed = await self._results.of(outcome, call.index, seconds=outcome.duration_seconds or 0.0, ended_at=now)
            self._spans.ended(timed, context)
            results.append(timed.result)
            await self._publisher.add(timed)
        self._metrics.items_ended(self._workload, results)
