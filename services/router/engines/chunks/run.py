"""One run of one claimed chunk: lease, items and flushing side by side; whatever ends first ends the rest."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from opentelemetry.trace import Span

from services.router.engines.chunks.item_pause import ItemPausedError
from services.router.engines.chunks.items import ChunkItems
from services.router.engines.chunks.job_specs import JobSpec, JobSpecs
from services.router.engines.chunks.result_publisher import ResultPublisher
from services.router.engines.chunks.runner_metrics import RunnerMetrics
from services.router.engines.chunks.runner_parts import RunnerPorts
from services.router.engines.chunks.task import ChunkTask
from shared.errors import RetryableError, StillRunningError
from shared.facts.jobs import ChunkInterrupted, ItemsCompleted, JobPaused
from shared.history.facts import fact_headers
from shared.history.runs.claims import Claimed
from shared.history.runs.lease import SUSPENDED, Lease, LeaseLostError
from shared.history.runs.run_end import end_run
from shared.history.runs.spec_read import read_spec
from shared.retry.patience import with_patience
from shared.telemetry.propagation import traceparent_of, tracestate_of
from shared.workloads import RunKilledError

_STOP_SECONDS = 20.0
_INTERRUPTED_SECONDS = 5.0
"""How long a run that was stopped tries to say what it has done, and that nobody died."""

_LEAST_PAUSE_MS = 1000
"""Whoever says "at once" would say it again and again."""

PAUSED = "paused"
INTERRUPTED = "interrupted"
GIVEN_BACK = frozenset({PAUSED, INTERRUPTED})
"""Why a run ended whose chunk the history plans again."""

_log = logging.getLogger(__name__)


class ChunkRun:
    """From the claim to the claim's end."""

    def __init__(
        self,
        ports: RunnerPorts,
        task: ChunkTask,
        claimed: Claimed,
        claimed_at: int,
        lease: Lease,
        specs: JobSpecs,
        chunk_span: Span,
        metrics: RunnerMetrics,
        stopping: asyncio.Event,
    ) -> None:
        self._ports = ports
        self._task = task
        self._missing = claimed.missing
        self._mark = claimed.mark
        self._claimed_at = claimed_at
        self._lease = lease
        self._specs = specs
        self._metrics = metrics
        self._stopping = stopping
        self._traceparent = traceparent_of(chunk_span)
        self._tracestate = tracestate_of(chunk_span)
        self.workload: str | None = None
        """The job's workload, once that is known."""

    async def run(self) -> str | None:
        """Run what is missing, and finish the claim. Return None, or in one word why the run was stopped.

        A run that stops in order (see `GIVEN_BACK`) leaves its claim: the advance past its fact removes it.

        Raises:
            RetryableError: see `ChunkRunner.run`.
        """
        if self._missing:
            reason = await self._run_items()
            if reason is not None:
                return reason
        try:
            await self._lease.finish()
        except LeaseLostError as lost:  # the results are in, which is all that matters to the owner
            _log.warning("chunk %s: %s", self._task.chunk, lost)
        return None

    async def _run_items(self) -> str | None:
        items = ChunkItems(self._ports, self._task, self._lease, self._metrics)
        publisher = self._publisher()
        keeping = asyncio.create_task(self._lease.keep())
        flushing = asyncio.create_task(publisher.keep_flushing())
        working = asyncio.create_task(self._work(items, publisher))
        stopping = asyncio.create_task(self._stopping.wait())
        tasks: set[asyncio.Task[Any]] = {keeping, flushing, working, stopping}
        reason: str | None = INTERRUPTED
        failure: RetryableError | None = None
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                reason = working.result()
            elif keeping.done():
                reason = keeping.result().reason
            elif flushing.done():
                flushing.result()
        except StillRunningError:
            raise
        except RetryableError as error:
            failure = error
        finally:
            items.kill()
            all_ended = await end_run({flushing, working, stopping}, keeping, seconds=_STOP_SECONDS)
            if not all_ended:
                _log.error("chunk %s: the run does not stop", self._task.chunk)
        if reason not in (INTERRUPTED, SUSPENDED):
            return reason
        return await self._given_back(reason, publisher, failure) if all_ended else "stuck"

    async def _given_back(self, reason: str, publisher: ResultPublisher, failure: RetryableError | None) -> str:
        """Nothing of the run goes on: say so. Why it ended, in one word.

        Raises:
            RetryableError: `failure`, if that could not be said.
        """
        # What another run has begun meanwhile must not be given back.
        if reason == SUSPENDED and not await self._lease.is_still_held(_INTERRUPTED_SECONDS):
            return reason
        is_told = await self._interrupted(publisher)
        if failure is None:
            return INTERRUPTED
        if not is_told:
            raise failure
        _log.warning("chunk %s is given back: %s", self._task.chunk, failure)
        return INTERRUPTED

    async def _interrupted(self, publisher: ResultPublisher) -> bool:
        """Nothing runs any more: say so, after what has ended before. Without that the claim dies by its lease."""
        fact = ChunkInterrupted(
            chunk_id=self._task.chunk, worker_id=self._ports.worker_id, content_hash=publisher.content_hash
        )
        try:
            async with asyncio.timeout(_INTERRUPTED_SECONDS):
                await publisher.flush()
                await self._append(fact)
        except (RetryableError, TimeoutError) as error:
            _log.warning("chunk %s: its interruption counts as a death: %r", self._task.chunk, error)
            return False
        return True

    async def _paused(self, paused: ItemPausedError, publisher: ResultPublisher) -> str:
        """The item has stopped, and none follows: say so, after what has ended before."""
        ports, seconds = self._ports, paused.resume_seconds
        resume_ms = None if seconds is None else max(_LEAST_PAUSE_MS, round(seconds * 1000))
        await publisher.flush()
        fact = JobPaused(
            reason=paused.reason,
            until=None if resume_ms is None else ports.clock.now_ms() + resume_ms,
            first_ms=round(ports.settings.pause_seconds * 1000),
            longest_ms=round(ports.settings.pause_longest_seconds * 1000),
            chunk_id=self._task.chunk,
            item_index=paused.index,
            attempt=paused.attempt,
            cost_micros=paused.cost_micros,
            content_hash=publisher.content_hash,
        )
        await with_patience(partial(self._append, fact), seconds=ports.patience_seconds, clock=ports.clock)
        return PAUSED

    async def _append(self, fact: JobPaused | ChunkInterrupted) -> None:
        task, job_id = self._task, self._task.chunk_id.job_id
        headers = fact_headers(fact.fact_type, job_id, self._traceparent, self._tracestate)
        await self._ports.facts.append(task.topic, task.partition, key=job_id, value=fact.encode(), headers=headers)

    async def _work(self, items: ChunkItems, publisher: ResultPublisher) -> str | None:
        try:
            spec = await self._spec()
            self.workload = spec.workload
            publisher.content_hash = spec.content_hash
            await items.run(spec, self._missing, publisher)
            await publisher.flush()
        except LeaseLostError as lost:
            return lost.reason
        except RunKilledError:
            return "killed"
        except ItemPausedError as paused:
            return await self._paused(paused, publisher)
        return None

    async def _spec(self) -> JobSpec:
        """What is to be done.

        Raises:
            LeaseLostError: the job has ended, or Redis was away for longer than the lease.
            RetryableError: Redis does not have it.
        """

        async def read() -> JobSpec | None:
            claims = self._ports.claims(self._task.topic)
            return await self._specs.get(claims, self._task.partition, self._task.chunk_id.job_id, self._mark)

        whose = f"chunk {self._task.chunk}"
        return await read_spec(read, self._lease, self._ports.clock, whose=whose, stopping=self._stopping)

    def _publisher(self) -> ResultPublisher:
        ports, task = self._ports, self._task
        return ResultPublisher(
            ports.facts,
            task,
            claimed_at=self._claimed_at,
            engine=ports.engine,
            worker_id=ports.worker_id,
            headers=fact_headers(ItemsCompleted.fact_type, task.chunk_id.job_id, self._traceparent, self._tracestate),
            flush_items=ports.settings.flush_items,
            flush_seconds=ports.settings.flush_seconds,
            patience_seconds=ports.patience_seconds,
            clock=ports.clock,
        )
