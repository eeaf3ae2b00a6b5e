"""Gathers the results of a run and appends them to the history: once there are enough, or after a short time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from eldermesh.contract.cloudevents import Headers
from services.router.engines.chunks.runner_parts import ChunkRunnerParts
from services.router.engines.chunks.task import ChunkTask
from shared.backoff.patience import with_patience
from shared.facts.fact import ChunkTimes
from shared.facts.jobs import FactResult, ItemsCompleted

MAX_FACT_BYTES = 700_000
"""Keeps a fact, and the public record made of it, well below a topic's 1 MiB."""

RESULT_OVERHEAD_BYTES = 400
"""What stands in records of a result beside its output or error."""

_MANY_RESULTS = 10
"""So many that were gathered for `flush_seconds` can wait for more."""


@dataclass(frozen=True, slots=True)
class TimedResult:
    """A result, when its item began and ended (milliseconds since 1970), and the bytes of its output or error."""

    result: FactResult
    started_at: int
    ended_at: int
    payload_bytes: int


class ResultPublisher:
    """The results of one run.

    Attributes:
        content_hash: of the job whose items run; None until it is known.

    Args:
        parts: where facts go, who runs the chunk, and how long results are gathered and tried again.
        task: the chunk that runs.
        claimed_at: when it was claimed, in milliseconds since 1970.
        headers: of each fact.
    """

    def __init__(self, parts: ChunkRunnerParts, task: ChunkTask, *, claimed_at: int, headers: Headers) -> None:
        self.content_hash: str | None = None
        self._parts = parts
        self._task = task
        self._claimed_at = claimed_at
        self._headers = headers
        self._gathered: list[TimedResult] = []
        self._bytes = 0
        self._some = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    async def add(self, timed: TimedResult) -> None:
        """Take one result; publish what is gathered once it has reached a limit.

        Raises:
            RetryableError: Kafka did not take a fact.
        """
        size = timed.payload_bytes + RESULT_OVERHEAD_BYTES
        if self._bytes + size > MAX_FACT_BYTES:
            await self.flush()
        self._gathered.append(timed)
        self._bytes += size
        self._some.set()
        if len(self._gathered) >= self._parts.settings.flush_items:
            await self.flush()

    async def flush(self) -> None:
        """Publish what is gathered; on return Kafka has acknowledged every result added so far.

        Raises:
            RetryableError: Kafka did not take a fact; its results are still here.
        """
        async with self._one_at_a_time:
            while self._gathered:
                batch = list(self._gathered)
                append = partial(self._append, self._fact(batch).encode())
                await with_patience(append, seconds=self._parts.patience_seconds, clock=self._parts.clock)
                del self._gathered[: len(batch)]
                self._bytes = sum(timed.payload_bytes + RESULT_OVERHEAD_BYTES for timed in self._gathered)
            self._some.clear()

    async def keep_flushing(self) -> None:
        """Publish what has been gathered for `flush_seconds`, until cancelled; runs beside the items.

        Where that makes many results, all but the job's first are gathered for `flush_longest_seconds`: a fact costs
        those who read it nearly the same, however many it has.

        Raises:
            RetryableError: Kafka did not take a fact.
        """
        settings = self._parts.settings
        is_first = self._task.chunk_id.first == 0
        while True:
            await self._some.wait()
            await asyncio.sleep(settings.flush_seconds)
            if not is_first and len(self._gathered) >= _MANY_RESULTS:
                await asyncio.sleep(settings.flush_longest_seconds - settings.flush_seconds)
            is_first = False
            await self.flush()

    async def _append(self, value: bytes) -> None:
        job_id = self._task.chunk_id.job_id
        await self._parts.facts.append(
            self._task.topic, self._task.partition, key=job_id, value=value, headers=self._headers
        )

    def _fact(self, batch: list[TimedResult]) -> ItemsCompleted:
        chunk = self._task.chunk_id
        return ItemsCompleted(
            stage_index=chunk.stage,
            epoch=chunk.epoch,
            chunk_id=self._task.chunk,
            engine=self._parts.engine,
            worker_id=self._parts.worker_id,
            results=tuple(timed.result for timed in batch),
            content_hash=self.content_hash,
            times=ChunkTimes(
                dispatched_at=self._task.dispatched_at,
                claimed_at=self._claimed_at,
                started_at=min(timed.started_at for timed in batch),
                ended_at=max(timed.ended_at for timed in batch),
            ),
        )
