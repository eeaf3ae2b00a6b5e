"""A mesh of one partition: real owners, Lua, Redis and runners; the log, the engine and time are simulated."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from services.router.engines.chunks.task import ChunkTask
from shared.facts.jobs import JobAccepted, JobEnded
from shared.history.keys import PartitionKeys
from shared.history.machine import NewFact
from shared.settings import Settings
from tests.property.breach import Breach
from tests.property.fact_writer import FactWriter
from tests.property.memory_log import MemoryLog
from tests.property.mirror import Mirror
from tests.property.owner_life import LOOK_SECONDS, OwnerProcess
from tests.property.process import Process, Pulse
from tests.property.runner_life import RunnerProcess, runner_settings
from tests.property.virtual_loop import VirtualLoop, WorldClock
from tests.property.witness import Witness
from tests.property.world_redis import Past, WorldRedis

_STEP_SECONDS = 50.0
"""Time passes in steps in which each heartbeat fires long before its lease is over."""

_SETTLE_ROUNDS = 240
"""Some 13 days: less than the longest age of a job, which would end even a stuck one."""
_SETTLE_CALLS = 6000
_CALLS_OF_ONE_GO = 1000
_CALLS_OF_AN_APPROACH = 30


@dataclass(slots=True)
class World(FactWriter):
    """Verbs for tests.

    Attributes:
        assigned: the owner that the group holds for the owner; others are stale.
        idle_seconds: how long an idle owner would wait for facts; `last_wait` is what it asked for last.
        may_decide: whether jobs labelled `later` can be decided on.
        records_at_once: what one read of an owner gives at most.
        slow_requests: so many of the next renewals wait at the port `renew` before Redis is asked.
        slow_answers: so many of the next claims and renewals wait for Redis' answer at the port `answer`.
        quotas_met: items, each with its job, that have found a quota used up.
        taken_by_retention: jobs of which retention has taken a fact.
        in_flight: facts of runners that did not live to see them acknowledged.
    """

    server: EmbeddedRedis
    window_size: int = 4
    records_at_once: int = 500
    keys: PartitionKeys = field(default_factory=lambda: PartitionKeys("world.jobs.history", 0))
    pulse: Pulse = field(default_factory=Pulse)
    owners: list[OwnerProcess] = field(default_factory=list)
    assigned: OwnerProcess | None = None
    runners: list[RunnerProcess] = field(default_factory=list)
    queue: list[ChunkTask] = field(default_factory=list)
    in_flight: list[tuple[str, NewFact]] = field(default_factory=list)
    taken_by_retention: set[str] = field(default_factory=set)
    pasts: list[Past] = field(default_factory=list)
    quotas_met: set[tuple[str, int]] = field(default_factory=set)
    may_decide: bool = True
    idle_seconds: float = 0.25
    last_wait: float = 0.0
    engine_is_down: bool = False
    slow_requests: int = 0
    slow_answers: int = 0
    settings: Settings = field(default_factory=runner_settings)
    loop: VirtualLoop = field(init=False)
    redis: WorldRedis = field(init=False)
    mirror: Mirror = field(init=False)
    witness: Witness = field(init=False)
    _rolled_back: bool = False
    _calls_left: int = 0

    def __post_init__(self) -> None:
        self.loop = cast("VirtualLoop", asyncio.get_running_loop())
        self.clock = WorldClock(self.loop)
        self.log = MemoryLog(self.clock)
        self.redis = WorldRedis(self.server, self.keys, self.pulse)
        self.mirror = Mirror(self.log, self.redis)
        self.witness = Witness(self.clock, self.log, self.runners)

    async def begin(self) -> None:
        """An empty Redis."""
        await self.redis.wipe()

    async def end(self) -> None:
        """Kill everything that lives."""
        for process in (*self.owners, *self.runners):
            process.kill()
        await self.pulse.rest()
        await self.redis.close()

    # Owners ----------------------------------------------------------------------------------------------------------

    async def start_owner(self) -> OwnerProcess:
        """A new owner, assigned by the group; whoever was it before is stale from now on."""
        owner = OwnerProcess(f"owner-{len(self.owners)}", self)
        self.owners.append(owner)
        self.assigned = owner
        owner.start(owner.live())
        await self.pulse.rest()
        return owner

    async def advance(self, process: Process, calls: int = 1) -> None:
        """Let a process make some port calls."""
        for _ in range(calls):
            if not process.let_through():
                return
            self._calls_left -= 1
            await self.pulse.rest()
            self.witness.raise_breaches()

    async def advance_to(self, process: Process, port: str, *, past: int = 0) -> None:
        """Let a process go on until it is about to make this call (for the `past`-th time after the next)."""
        for _ in range(500):
            if process.stopped_at == port:
                if past == 0:
                    return
                past -= 1
            await self.advance(process)
        raise AssertionError(f"{process.name} never came to {port}; it is at {process.stopped_at}")

    async def approach(self, process: Process, port: str) -> None:
        """Let a process make some calls, until it is about to make this one."""
        for _ in range(_CALLS_OF_AN_APPROACH):
            if process.stopped_at == port:
                return
            await self.advance(process)

    async def work(self, owner: OwnerProcess, most: int = _CALLS_OF_ONE_GO) -> int:
        """Let an owner do all that it can do now, in at most so many calls; how many it made."""
        reads = 0
        for made in range(most):
            reads = reads + 1 if self._waits_for_facts(owner) else 0
            if reads == 2 or owner.is_dead:  # a whole step without a call between two reads
                return made
            if owner.stopped_at == "confirm" and owner is not self.assigned:
                return made
            await self.advance(owner)
        return most

    def _waits_for_facts(self, owner: OwnerProcess) -> bool:
        return owner.stopped_at == "read" and owner.reads_at == self.log.end

    # Runners ---------------------------------------------------------------------------------------------------------

    async def deliver(self, index: int = 0, *, keep: bool = False, worker: str | None = None) -> RunnerProcess:
        """The engine gives a task to a worker, a new one unless it is named; `keep`: and will give it once more."""
        task = self.queue[index] if keep else self.queue.pop(index)
        runner = RunnerProcess(worker or f"runner-{len(self.runners)}", self, task)
        self.runners.append(runner)
        runner.start(runner.live())
        await self.pulse.rest()
        return runner

    async def run(self, runner: RunnerProcess) -> None:
        """Let a runner go on to its end, or until it sleeps."""
        await self.advance(runner, 1000)

    async def run_all(self) -> None:
        """Deliver every task that is in the queue now, and run each to its end."""
        for _ in range(len(self.queue)):
            await self.run(await self.deliver())

    def kill(self, process: Process) -> None:
        """SIGKILL."""
        if isinstance(process, RunnerProcess) and not process.is_dead:
            self.witness.run_died(process)
        process.kill()

    async def interrupt(self, runner: RunnerProcess) -> None:
        """The process is told to stop; it still has to say what it leaves."""
        runner.interrupt()
        await self.pulse.rest()
        self.witness.raise_breaches()

    async def freeze_after(self, process: Process) -> None:
        """SIGSTOP right after the next call has been answered."""
        process.let_through()
        process.freeze()
        await self.pulse.rest()
        self.witness.raise_breaches()

    async def thaw(self, runner: RunnerProcess, calls: int = 0, *, port: str | None = None) -> None:
        """SIGCONT; the process' work makes some calls (at `port`) before the timers fire that came due meanwhile."""
        runner.thaw()
        for _ in range(calls):
            runner.let_through(port)
            await self.pulse.rest()
        runner.release_timers()
        await self.pulse.rest()
        self.witness.raise_breaches()

    def trim(self) -> None:
        """Retention, which is longer than a job's life: all that is over goes, up to where something that lives began.

        What is left of a job that it cuts is no submit: none that comes so late has the id of a job that is known.
        """
        records = self.log.everything
        ended = {record.key for record in records if record.fact_type == JobEnded.fact_type}
        accepted = {record.key: record.offset for record in records if record.fact_type == JobAccepted.fact_type}
        start = self.mirror.highest
        for record in self.log.records:
            lives = record.key in accepted and record.key not in ended
            if record.offset >= start or (not lives and accepted.get(record.key, -1) < start):
                continue
            start = record.offset
        begun = {record.key for record in records if record.offset < start}
        if start <= self.log.start or any(accepted.get(name, -1) >= start for name in begun):
            return
        self.log.trim(start)
        self.taken_by_retention |= begun

    def land(self) -> None:
        """A fact that its runner did not live to see acknowledged is in the log after all."""
        key, fact = self.in_flight.pop(0)
        self.log.write(key, fact.fact_type, fact.value)

    @property
    def live_runners(self) -> list[RunnerProcess]:
        """Runners that are not dead."""
        return [runner for runner in self.runners if not runner.is_dead]

    # Time and Redis --------------------------------------------------------------------------------------------------

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for everybody; heartbeats fire, frozen processes and those at a port stay where they are."""
        while seconds > 0:
            step = min(seconds, _STEP_SECONDS) if self.live_runners else seconds
            await self.redis.age_leases(step)
            self.loop.pass_time(step)
            await self.pulse.rest()
            self.witness.raise_breaches()
            seconds -= step

    async def wipe(self) -> None:
        """FLUSHALL."""
        await self.redis.wipe()

    async def remember(self) -> None:
        """Note Redis as it is now, for a later `roll_back`."""
        self.pasts.append(await self.redis.remember(self.clock.monotonic()))

    async def roll_back(self, index: int = -1, *, restart: bool) -> None:
        """Redis is as it was once; with `restart` under another run id, as after a restart from an older file."""
        self.witness.is_torn = self.witness.is_torn or self._rolled_back or not restart
        self._rolled_back = True
        if restart:
            await self.redis.restart()
        await self.redis.roll_back(self.pasts[index], self.clock.monotonic())

    async def take_token(self) -> None:
        """Another process begins to load, and is never seen again."""
        await self.redis.client.hset(self.keys.meta, "token", f"taken-{self.clock.monotonic()}")

    async def restart_redis(self, *, empty: bool) -> None:
        """Redis restarts, with all that it held or with nothing."""
        kept = await self.redis.remember(self.clock.monotonic())
        await self.redis.restart()
        if not empty:
            await self.redis.roll_back(kept, self.clock.monotonic())

    # The end ---------------------------------------------------------------------------------------------------------

    async def settle(self, *, keep_faults: bool = False) -> None:
        """Faults stop; everything comes to rest within a bound, or that is a breach."""
        self._raise_failures()
        await self._stop_faults(keep_produce_faults=keep_faults)
        for runner in self.live_runners:
            if runner.is_frozen:
                await self.thaw(runner)
        for owner in self.owners:
            if owner is not self.assigned:
                owner.kill()
        if self.assigned is None or self.assigned.is_dead:
            await self.start_owner()
        self._calls_left = _SETTLE_CALLS
        for round_number in range(_SETTLE_ROUNDS):
            if self._calls_left < 0:
                break
            # Looks first, then claim time-outs, then the longest timers.
            await self.pass_time(LOOK_SECONDS if round_number < 60 else 1800.0 if round_number < 200 else 21600.0)
            await self._settle_round()
            self._raise_failures()
            if await self._is_settled():
                return
        raise Breach("faults have stopped, but not every accepted job ends")

    async def _stop_faults(self, *, keep_produce_faults: bool) -> None:
        if not keep_produce_faults:
            self.log.faults.clear()
        self.log.read_faults.clear()
        self.log.bounds_faults.clear()
        self.redis.faults.clear()
        self.redis.claim_faults.clear()
        self.redis.renewal_faults.clear()
        while self.redis.late:
            await self.redis.land()
        self.slow_requests = self.slow_answers = self.log.skew_ms = 0
        self.engine_is_down = False
        self.may_decide = True

    def _raise_failures(self) -> None:
        for process in (*self.owners, *self.runners):
            if process.failure is not None:
                raise Breach(f"{process.name} stopped for good: {process.failure!r}") from process.failure

    async def _settle_round(self) -> None:
        owner = self.assigned
        if owner is not None:
            await self.work(owner)
        for runner in self.live_runners:
            await self.run(runner)
        await self.run_all()

    async def _is_settled(self) -> bool:
        if self.queue or self.live_runners or self.assigned is None or not self._waits_for_facts(self.assigned):
            return False
        accepted = {r.key for r in self.log.everything if r.fact_type == JobAccepted.fact_type}
        ended = {r.key for r in self.log.everything if r.fact_type == JobEnded.fact_type}
        return accepted <= ended
