"""Claims chunks and runs them under a lease; the same on every engine."""

from __future__ import annotations

import asyncio
import logging
from uuid import uuid4

from services.router.engines.chunks.run import GIVEN_BACK, ChunkRun
from services.router.engines.chunks.runner_metrics import RunnerMetrics
from services.router.engines.chunks.runner_parts import ChunkRunnerParts
from services.router.engines.chunks.spec_cache import JobSpecs
from services.router.engines.chunks.task import ChunkOutcome, ChunkTask
from shared.history.runs.claim_request import Unclaimed, claimed_lease
from shared.history.runs.claims import Claimed
from shared.history.runs.lease import Lease
from shared.logs.setup import job_logs
from shared.telemetry import names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import record_span, span

_log = logging.getLogger(__name__)


class ChunkRunner:
    """Runs chunks; several at once if called so."""

    def __init__(self, parts: ChunkRunnerParts) -> None:
        self._parts = parts
        self._specs = JobSpecs()
        self._metrics = RunnerMetrics(parts.engine)
        self._stopping = asyncio.Event()

    def interrupt(self) -> None:
        """Begin nothing more and stop what runs in order, so that it does not count as a death."""
        self._stopping.set()

    async def run(self, task: ChunkTask) -> ChunkOutcome:
        """Claim the chunk and run it. Cancelling this kills the run.

        Raises:
            RetryableError: Kafka did not answer for long, or something that was killed still runs. The chunk is not
                finished: its lease runs out, and the owner plans it again.
        """
        with job_logs(task.chunk_id.job_id):
            claimed = await self._claim(task)
            return claimed if isinstance(claimed, ChunkOutcome) else await self._run(task, *claimed)

    async def _run(self, task: ChunkTask, claimed: Claimed, lease: Lease) -> ChunkOutcome:
        parts = self._parts
        claimed_at, began = parts.clock.now_ms(), parts.clock.monotonic()
        attributes: dict[str, str | int] = {
            names.JOB_ID: task.chunk_id.job_id,
            names.CHUNK_ID: task.chunk,
            names.ENGINE: parts.engine,
        }
        parent = context_from(task.traceparent, task.tracestate)
        record_span(
            names.QUEUE_WAIT, start_ms=task.dispatched_at, end_ms=claimed_at, context=parent, attributes=attributes
        )
        attributes |= {names.CHUNK_ITEMS: len(claimed.missing), names.CHUNK_ATTEMPT: task.attempt}
        with span(names.PROCESS_CHUNK, context=parent, attributes=attributes) as chunk_span:
            chunk = ChunkRun(
                parts, task, claimed, claimed_at, lease, self._specs, chunk_span, self._metrics, self._stopping
            )
            self._metrics.began((claimed_at - task.dispatched_at) / 1000)
            try:
                reason = await chunk.run()
            finally:
                self._metrics.ended(parts.clock.monotonic() - began, chunk.workload)
            if reason is None:
                return ChunkOutcome.DONE
            _log.info("chunk %s: run stopped: %s", task.chunk, reason)
            chunk_span.set_attribute(names.REASON, reason)
            return ChunkOutcome.GIVEN_BACK if reason in GIVEN_BACK else ChunkOutcome.KILLED

    async def _claim(self, task: ChunkTask) -> tuple[Claimed, Lease] | ChunkOutcome:
        """Claim the chunk, or say what to do with its task.

        A chunk that cannot be claimed within a limited time is put back, or left if the task is old: then its owner
        sends another one, when the gate opens or after `claim_timeout_seconds`. While Redis does not answer, the claim
        is tried without a limit: the owner needs Redis, too, and may send the task again only long after it is back.
        """
        parts = self._parts
        claimed: tuple[Claimed, Lease] | Unclaimed = Unclaimed.NO_ANSWER
        while claimed is Unclaimed.NO_ANSWER:
            claimed = await claimed_lease(
                parts.claims(task.topic),
                task.partition,
                task.chunk_id,
                runner=parts.worker_id,
                run=uuid4().hex,
                settings=parts.settings,
                clock=parts.clock,
                is_stopping=self._stopping.is_set,
            )
        match claimed:
            case Unclaimed.LEAVE:
                return ChunkOutcome.LEFT
            case Unclaimed.STOPPING:
                return ChunkOutcome.PUT_BACK
            case Unclaimed():
                age_ms = parts.clock.now_ms() - task.dispatched_at
                is_old = age_ms > parts.settings.claim_timeout_seconds * 1000
                return ChunkOutcome.LEFT if is_old else ChunkOutcome.PUT_BACK
        return claimed
