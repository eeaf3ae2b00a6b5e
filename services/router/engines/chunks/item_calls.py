"""The call of one item, and which failures of a call concern the whole run."""

from __future__ import annotations

from pydantic import JsonValue

from shared.errors import RetryableError
from shared.history.chunk_id import ChunkId
from shared.history.runs.lease import LeaseLostError
from shared.logs.exceptions import ends_the_task
from shared.workloads import ItemCall, RunKilledError


def item_call(
    chunk: ChunkId,
    index: int,
    item: JsonValue,
    *,
    attempt: int,
    traceparent: str | None = None,
    tracestate: str | None = None,
) -> ItemCall:
    """An item of a chunk, as the workload gets it."""
    return ItemCall(
        index=index,
        item=item,
        attempt=attempt,
        idempotency_key=f"{chunk.job_id}/{chunk.stage}/{index}",
        epoch=chunk.epoch,
        traceparent=traceparent,
        tracestate=tracestate,
    )


def concerns_the_run(error: BaseException) -> bool:
    """Whether the run must end by this; all else is the plug-in's own failure, even a `sys.exit` or a panic."""
    return isinstance(error, LeaseLostError | RunKilledError | RetryableError) or ends_the_task(error)
