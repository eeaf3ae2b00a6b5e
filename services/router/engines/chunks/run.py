"""A claimed run of a chunk: its items, and their results appended as they end."""

from __future__ import annotations

import asyncio
from functools import partial

from opentelemetry.trace import Span

from services.router.engines.chunks.fact_result import ItemPausedError
from services.router.engines.chunks.items import ChunkItems
from services.router.engines.chunks.result_publisher import ResultPublisher
from services.router.engines.chunks.runner_metrics import RunnerMetrics
from services.router.engines.chunks.runner_parts import ChunkRunnerParts
from services.router.engines.chunks.spec_cache import JobSpec, JobSpecs
from services.router.engines.chunks.task import ChunkTask
from shared.facts.jobs import ChunkInterrupted, ItemsCompleted, JobPaused
from shared.history.facts import fact_headers
from shared.history.runs.claimed_run import INTERRUPTED, INTERRUPTED_SECONDS, ClaimedRun, RunStoppedError
from shared.history.runs.claims import Claimed
from shared.history.runs.lease import Lease
from shared.history.runs.run_facts import RunFacts
from shared.history.runs.spec_read import read_spec
from shared.telemetry.propagation import traceparent_of, tracestate_of
from shared.workloads import RunKilledError

_STOP_SECONDS = 20.0
"""Time that an item gets to stop."""

_LEAST_PAUSE_MS = 1000
"""A shorter pause would only be asked for again and again."""

PAUSED = "paused"
GIVEN_BACK = frozenset({PAUSED, INTERRUPTED})
"""Reasons of stopped runs whose chunk the history plans again."""


class ChunkRun:
    """From the claim to the claim's end."""

    def __init__(
        self,
        parts: ChunkRunnerParts,
        task: ChunkTask,
        claimed: Claimed,
        claimed_at: int,
        lease: Lease,
        specs: JobSpecs,
        chunk_span: Span,
        metrics: RunnerMetrics,
        stopping: asyncio.Event,
    ) -> None:
        self._parts = parts
        self._task = task
        self._claimed = claimed
        self._lease = lease
        self._specs = specs
        self._stopping = stopping
        self._items = ChunkItems(parts, task, lease, metrics)
        traceparent, tracestate = traceparent_of(chunk_span), tracestate_of(chunk_span)
        headers = fact_headers(ItemsCompleted.fact_type, task.chunk_id.job_id, traceparent, tracestate)
        self._publisher = ResultPublisher(parts, task, claimed_at=claimed_at, headers=headers)
        self._facts = RunFacts(
            parts.facts, parts.clock, task.topic, task.partition, task.chunk_id.job_id, traceparent, tracestate
        )
        self.workload: str | None = None
        """The job's workload, once that is known."""

    async def run(self) -> str | None:
        """Run what is missing and finish the claim. Return None, or one word: why the run was stopped.

        Raises:
            RetryableError: see `ChunkRunner.run`.
        """
        run = ClaimedRun(
            self, self._lease, self._stopping, whose=f"chunk {self._task.chunk}", stop_seconds=_STOP_SECONDS
        )
        if not self._claimed.missing:
            await run.finish()
            return None
        stopped = await run.run()
        return None if stopped is None else stopped.reason

    async def work(self) -> None:
        """Run the items; see `RunWork`."""
        spec = await self._spec()
        self.workload = spec.workload
        self._publisher.content_hash = spec.content_hash
        try:
            await self._items.run(spec, self._claimed.missing, self._publisher)
            await self._publisher.flush()
        except RunKilledError as killed:
            raise RunStoppedError("killed") from killed
        except ItemPausedError as paused:
            await self._paused(paused)
            raise RunStoppedError(PAUSED) from paused

    async def flush(self) -> None:
        """Publish results a short time after they came; see `RunWork`."""
        await self._publisher.keep_flushing()

    def kill(self) -> None:
        """Stop the item that runs; see `RunWork`."""
        self._items.kill()

    async def interrupted(self) -> None:
        """Publish the results so far, then that the run was interrupted; see `RunWork`."""
        fact = ChunkInterrupted(
            chunk_id=self._task.chunk, worker_id=self._parts.worker_id, content_hash=self._publisher.content_hash
        )
        async with asyncio.timeout(INTERRUPTED_SECONDS):
            await self._publisher.flush()
            await self._facts.append(fact)

    async def _paused(self, paused: ItemPausedError) -> None:
        """Publish the results so far, then that the job is to pause."""
        parts, seconds = self._parts, paused.resume_seconds
        resume_ms = None if seconds is None else max(_LEAST_PAUSE_MS, round(seconds * 1000))
        await self._publisher.flush()
        fact = JobPaused(
            reason=paused.reason,
            until=None if resume_ms is None else parts.clock.now_ms() + resume_ms,
            first_ms=round(parts.settings.pause_seconds * 1000),
            longest_ms=round(parts.settings.pause_longest_seconds * 1000),
            chunk_id=self._task.chunk,
            item_index=paused.index,
            attempt=paused.attempt,
            cost_micros=paused.cost_micros,
            content_hash=self._publisher.content_hash,
        )
        await self._facts.append(fact, patience_seconds=parts.patience_seconds)

    async def _spec(self) -> JobSpec:
        """The job's specification.

        Raises:
            LeaseLostError: the job has ended, or Redis was away for longer than the lease.
            RetryableError: Redis does not have it.
        """
        claims, job_id = self._parts.claims(self._task.topic), self._task.chunk_id.job_id
        read = partial(self._specs.get, claims, self._task.partition, job_id, self._claimed)
        whose = f"chunk {self._task.chunk}"
        return await read_spec(read, self._lease, self._parts.clock, whose=whose, stopping=self._stopping)
