"""Gathers the results of a run and appends them to the history: by number, by bytes, and after a short time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from eldermesh.contract.cloudevents import Headers
from eldermesh.contract.vocabulary import Engine
from services.router.engines.chunks.task import ChunkTask
from shared.facts.fact import ChunkTimes
from shared.facts.jobs import FactResult, ItemsCompleted
from shared.history.clock import Clock
from shared.history.fact_appender import FactSink
from shared.retry.patience import with_patience

MAX_FACT_BYTES = 700_000
"""So that a fact, and the public record made of it, stay well below a topic's 1 MiB."""

_RESULT_OVERHEAD_BYTES = 400


@dataclass(frozen=True, slots=True)
class TimedResult:
    """A result, when its item began and ended (milliseconds since 1970), and the bytes it takes in a fact, about."""

    result: FactResult
    started_at: int
    ended_at: int
    payload_bytes: int


class ResultPublisher:
    """The results of one run.

    Attributes:
        content_hash: of the job whose items run; None while it is not known.

    Args:
        facts: where they go.
        task: the chunk that runs.
        claimed_at: when it was claimed, in milliseconds since 1970.
        engine, worker_id: who runs it.
        headers: of each fact.
        flush_items: results that are gathered at most.
        flush_seconds: longest time that a result is kept while `keep_flushing` runs.
        patience_seconds: how long one fact is tried again.
        clock: for that.
    """

    def __init__(
        self,
        facts: FactSink,
        task: ChunkTask,
        *,
        claimed_at: int,
        engine: Engine,
        worker_id: str,
        headers: Headers,
        flush_items: int,
        flush_seconds: float,
        patience_seconds: float,
        clock: Clock,
    ) -> None:
        self.content_hash: str | None = None
        self._facts = facts
        self._task = task
        self._claimed_at = claimed_at
        self._engine = engine
        self._worker_id = worker_id
        self._headers = headers
        self._flush_items = flush_items
        self._flush_seconds = flush_seconds
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._gathered: list[TimedResult] = []
        self._bytes = 0
        self._some = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    async def add(self, timed: TimedResult) -> None:
        """Take one result; publishes first, or at once, when bounds are reached.

        Raises:
            RetryableError: Kafka did not take a fact.
        """
        size = timed.payload_bytes + _RESULT_OVERHEAD_BYTES
        if self._bytes + size > MAX_FACT_BYTES:
            await self.flush()
        self._gathered.append(timed)
        self._bytes += size
        self._some.set()
        if len(self._gathered) >= self._flush_items:
            await self.flush()

    async def flush(self) -> None:
        """Publish what is gathered; on return Kafka has acknowledged every result that was ever added.

        Raises:
            RetryableError: Kafka did not take a fact; its results are still here.
        """
        async with self._one_at_a_time:
            while self._gathered:
                batch = list(self._gathered)
                append = partial(self._append, self._fact(batch).encode())
                await with_patience(append, seconds=self._patience_seconds, clock=self._clock)
                del self._gathered[: len(batch)]
                self._bytes = sum(timed.payload_bytes + _RESULT_OVERHEAD_BYTES for timed in self._gathered)
            self._some.clear()

    async def keep_flushing(self) -> None:
        """Publish what has been gathered for long enough; runs beside the items, until it is cancelled.

        Raises:
            RetryableError: Kafka did not take a fact.
        """
        while True:
            await self._some.wait()
            await asyncio.sleep(self._flush_seconds)
            await self.flush()

    async def _append(self, value: bytes) -> None:
        job_id = self._task.chunk_id.job_id
        await self._facts.append(self._task.topic, self._task.partition, key=job_id, value=value, headers=self._headers)

    def _fact(self, batch: list[TimedResult]) -> ItemsCompleted:
        chunk = self._task.chunk_id
        return ItemsCompleted(
            stage_index=chunk.stage,
            epoch=chunk.epoch,
            chunk_id=self._task.chunk,
            engine=self._engine,
            worker_id=self._worker_id,
            results=tuple(timed.result for timed in batch),
            content_hash=self.content_hash,
            times=ChunkTimes(
                dispatched_at=self._task.dispatched_at,
                claimed_at=self._claimed_at,
                started_at=min(timed.started_at for timed in batch),
                ended_at=max(timed.ended_at for timed in batch),
            ),
        )
