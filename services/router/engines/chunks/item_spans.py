"""Which items of a sliced run have a span: the first of a chunk, the failed, the slow, and a sample, bounded."""

from __future__ import annotations

import math
from typing import Final

from opentelemetry.context import Context

from services.router.engines.chunks.result_publisher import TimedResult
from services.router.engines.chunks.spec_cache import JobSpec
from services.router.engines.chunks.task import ChunkTask
from shared.telemetry import names
from shared.telemetry.spans import record_span

SLOW_SECONDS: Final = 1.0
"""An item that takes so long is worth a span of its own."""


class ItemSpans:
    """The spans of the items of one run of a chunk.

    Args:
        task: the chunk that runs.
        spec: its job.
        most: of a whole job. A chunk gets its share of each, and at least one: of the sample, and again of what failed
            or was slow.
    """

    def __init__(self, task: ChunkTask, spec: JobSpec, most: int) -> None:
        chunk, items = task.chunk_id, max(1, len(spec.items or ()))
        self._first = chunk.first
        self._every = max(1, math.ceil(items / most))
        self._remarkable_left = max(1, most * (chunk.last - chunk.first + 1) // items)
        self._attributes = {names.JOB_ID: chunk.job_id, names.JOB_WORKLOAD: spec.workload}

    def ended(self, timed: TimedResult, context: Context) -> None:
        """An item has its result; `context` is the parent of its span, if it gets one."""
        result = timed.result
        is_sampled = result.item_index % self._every == 0 or result.item_index == self._first
        if not is_sampled:
            is_slow = timed.ended_at - timed.started_at >= SLOW_SECONDS * 1000
            if not (is_slow or result.status == "failed") or not self._remarkable_left:
                return
            self._remarkable_left -= 1
        attributes: dict[str, str | int] = {
            **self._attributes,
            names.ITEM_INDEX: result.item_index,
            names.ITEM_STATUS: result.status,
        }
        if result.error_type is not None:
            attributes[names.ERROR_TYPE] = result.error_type
        record_span(
            names.PROCESS_ITEM,
            start_ms=timed.started_at,
            end_ms=timed.ended_at,
            context=context,
            attributes=attributes,
            error=result.error_type,  # the message is only for the submitter
        )
