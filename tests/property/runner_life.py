"""A worker's process: the shipped chunk runner over ports that stop, fail and can be killed at every call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from redis.exceptions import ConnectionError as RedisConnectionError

from eldermesh.contract.cloudevents import Headers, header_text
from services.router.engines.chunks.runner import ChunkRunner
from services.router.engines.chunks.runner_parts import ChunkRunnerParts
from services.router.engines.chunks.task import ChunkOutcome, ChunkTask
from shared.blobs.store import BlobStore
from shared.errors import RetryableError
from shared.facts.jobs import ChunkInterrupted, JobPaused
from shared.history.chunk_id import ChunkId
from shared.history.machine import NewFact
from shared.history.runs.claims import AnnexedSpec, Claimed, ClaimRefusal, ClaimStore, Renewal
from shared.settings import Settings
from shared.workloads import WorkloadRegistry
from tests.property.owner_life import CLAIM_TIMEOUT_SECONDS, HEARTBEAT_SECONDS, LEASE_SECONDS
from tests.property.process import Process
from tests.property.world_workload import WORKLOAD, WorldWorkload

if TYPE_CHECKING:
    from tests.property.world import World

_GIVES_BACK = frozenset({JobPaused.fact_type, ChunkInterrupted.fact_type})


@dataclass(slots=True)
class Run:
    """What a world knows of a process' run: what it claimed, and when its lease was renewed last."""

    chunk: ChunkId
    missing: tuple[int, ...]
    renewed_at: float
    killed_by: Renewal | None = None
    has_ended: bool = False
    has_died: bool = False


class RunnerClaims(ClaimStore):
    """The shipped claims, behind the process' ports. Renewals are not stopped at: heartbeats come on their own."""

    def __init__(self, world: World, process: RunnerProcess) -> None:
        super().__init__(world.redis.client, world.keys.topic, lease_ms=round(LEASE_SECONDS * 1000))
        self._world = world
        self._process = process

    async def claim(self, partition: int, chunk: ChunkId, *, runner: str, run: str) -> Claimed | ClaimRefusal:
        """Claim."""
        await self._process.stop("claim")
        faults = self._world.redis.claim_faults
        fault = faults.popleft() if faults else None
        if fault == "down":
            raise RedisConnectionError("injected: down")
        with self._world.pulse:
            answer = await super().claim(partition, chunk, runner=runner, run=run)
        self._process.check_alive()
        if isinstance(answer, Claimed):
            expected = await self._world.mirror.missing(chunk)
            taken = Run(chunk, answer.missing, self._world.clock.monotonic())
            self._world.witness.run_claimed(self._process, taken, expected)
        await self._process.go_on()
        await self._answer()
        if fault == "reply_lost":
            raise RedisConnectionError("injected: reply lost")
        return answer

    async def renew(self, partition: int, chunk: ChunkId, *, runner: str, run: str, mark: str) -> Renewal:
        """Renew."""
        await self._process.go_on()
        if self._world.slow_requests > 0:
            self._world.slow_requests -= 1
            await self._process.stop("renew")
        faults = self._world.redis.renewal_faults
        fault = faults.popleft() if faults else None
        if fault == "down":
            raise RedisConnectionError("injected: down")
        with self._world.pulse:
            renewal = await super().renew(partition, chunk, runner=runner, run=run, mark=mark)
        self._process.check_alive()
        if fault == "reply_lost":
            self._world.witness.run_renewed(self._process, renewal, is_told=False)
            raise RedisConnectionError("injected: reply lost")
        self._world.witness.run_renewed(self._process, renewal)
        await self._answer()
        return renewal

    async def _answer(self) -> None:
        """Redis' answer is on its way, for as long as the world says."""
        if self._world.slow_answers > 0:
            self._world.slow_answers -= 1
            await self._process.stop("answer")

    async def finish(self, partition: int, chunk: ChunkId, *, runner: str, run: str) -> None:
        """Finish."""
        await self._process.stop("finish")
        self._world.witness.run_finishes(self._process)
        with self._world.pulse:
            await super().finish(partition, chunk, runner=runner, run=run)

    async def annexed_spec(self, partition: int, job_id: str) -> AnnexedSpec | None:
        """The specification and its annex."""
        await self._process.go_on()
        with self._world.pulse:
            return await super().annexed_spec(partition, job_id)


@dataclass(slots=True)
class RunnerSink:
    """`FactSink`: the history's log."""

    world: World
    process: RunnerProcess

    async def append(self, topic: str, partition: int, *, key: str, value: bytes, headers: Headers) -> None:
        """Append one fact."""
        del topic, partition  # a world has one of each
        fact = NewFact(header_text(headers, "ce_type") or "", value, headers)
        if fact.fact_type in _GIVES_BACK:
            self.world.witness.run_gives_back(self.process)
        try:
            await self.process.stop("append")
        except asyncio.CancelledError:
            self.world.in_flight.append((key, fact))  # it may be on the wire
            raise
        try:
            self.world.log.append([(key, fact)])
        except RetryableError:
            if fact.fact_type in _GIVES_BACK:
                self.world.witness.run_died(self.process)  # for all that anybody will know
            raise


@dataclass(slots=True)
class _NoBlobs:
    url: str = field(default="")


class RunnerProcess(Process):
    """One worker with one task."""

    def __init__(self, name: str, world: World, task: ChunkTask) -> None:
        super().__init__(name, world.witness.report)
        self.task = task
        self.run: Run | None = None
        self.outcome: ChunkOutcome | None = None
        self._world = world
        claims = RunnerClaims(world, self)
        self._runner = ChunkRunner(
            ChunkRunnerParts(
                settings=world.settings,
                engine="celery",
                worker_id=name,
                claims=lambda _: claims,
                facts=RunnerSink(world, self),
                workloads=WorkloadRegistry({WORKLOAD: lambda: WorldWorkload(world, self)}),
                blobs=cast("BlobStore", _NoBlobs()),  # outputs are small: it is never asked
                clock=world.clock,
            )
        )

    def interrupt(self) -> None:
        """SIGTERM, and the time to drain is over."""
        self._runner.interrupt()

    async def live(self) -> None:
        """Run the task to its outcome."""
        try:
            self.outcome = await self._runner.run(self.task)
        except RetryableError:
            self.outcome = ChunkOutcome.KILLED  # the engine's own retries are off
        finally:
            if self.outcome not in (ChunkOutcome.DONE, ChunkOutcome.GIVEN_BACK):
                self._world.witness.run_died(self)  # if it held a claim, heard of or not, that is left to its lease
            if self.run is not None:
                self.run.has_ended = True
        if self.outcome is ChunkOutcome.PUT_BACK:
            self._world.queue.append(self.task)


def runner_settings() -> Settings:
    """Settings of every worker; two results a fact, so that facts mix."""
    return Settings(
        lease_seconds=LEASE_SECONDS,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        claim_timeout_seconds=CLAIM_TIMEOUT_SECONDS,
        flush_items=2,
        flush_seconds=3600.0,
        _env_file=None,
    )
