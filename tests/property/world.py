"""A mesh of one partition: real owners, Lua, Redis and runners; the log, the engine and time are simulated."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

import orjson

from eldermesh.contract.canonical import content_hash
from eldermesh.contract.vocabulary import Decision
from eldermesh.stack.redis import EmbeddedRedis
from services.router.engines.chunk_task import ChunkTask
from shared.events import (
    Fact,
    FactResult,
    InboxRecord,
    ItemsCompleted,
    JobAccepted,
    JobCancelRequested,
    JobDecided,
    JobPaused,
    JobTerms,
)
from shared.history.claims import Renewal
from shared.history.keys import PartitionKeys
from shared.history.machine import NewFact
from shared.settings import Settings
from tests.property.breach import Breach
from tests.property.memory_log import MemoryLog
from tests.property.owner_life import LEASE_SECONDS, LOOK_SECONDS, OwnerProcess
from tests.property.process import Process, Pulse
from tests.property.runner_life import Run, RunnerProcess, runner_settings
from tests.property.virtual_loop import VirtualLoop, WorldClock
from tests.property.world_redis import Past, WorldRedis

_STEP_SECONDS = 50.0
"""Time passes in steps in which each heartbeat fires long before its lease is over."""

_MAX_JOB_AGE_MS = 30 * 86400 * 1000
_SETTLE_ROUNDS = 240
"""Some 13 days: less than the longest age of a job, which would end even a stuck one."""
_SETTLE_CALLS = 6000
_CALLS_OF_ONE_GO = 1000
_CALLS_OF_AN_APPROACH = 30


def job_id(number: int) -> str:
    """The id of a world's job."""
    return str(UUID(int=number))


@dataclass(slots=True)
class Submitted:
    """One submit that admission found valid."""

    job: str
    inbox: str
    content_hash: str


@dataclass(slots=True)
class World:
    """Verbs for tests. Facts that admission would append are appended directly.

    Attributes:
        assigned: the owner that the group holds for the owner; others are stale.
        idle_seconds: how long an idle owner would wait for facts; `last_wait` is what it asked for last.
        may_decide: whether jobs labelled `later` can be decided on.
        records_at_once: what one read of an owner gives at most.
        is_torn: Redis went back in time twice, or under the same run id, which no real one does: then, and only then,
            healthy runs may be killed or doubled (that is waste, nothing is lost).
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
    submitted: list[Submitted] = field(default_factory=list)
    executions: Counter[tuple[str, int]] = field(default_factory=Counter)
    deaths: Counter[tuple[str, int]] = field(default_factory=Counter)
    pasts: list[Past] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    may_decide: bool = True
    idle_seconds: float = 0.0
    last_wait: float = 0.0
    engine_is_down: bool = False
    is_torn: bool = False
    may_empty: bool = False
    settings: Settings = field(default_factory=runner_settings)
    loop: VirtualLoop = field(init=False)
    clock: WorldClock = field(init=False)
    log: MemoryLog = field(init=False)
    redis: WorldRedis = field(init=False)
    _inbox_offset: int = 0
    _executed: int = 0
    _rolled_back: bool = False
    _calls_left: int = 0

    def __post_init__(self) -> None:
        self.loop = cast("VirtualLoop", asyncio.get_running_loop())
        self.clock = WorldClock(self.loop)
        self.log = MemoryLog(self.clock)
        self.redis = WorldRedis(self.server, self.keys, self.pulse)

    async def begin(self) -> None:
        """An empty Redis."""
        await self.redis.wipe()

    async def end(self) -> None:
        """Kill everything that lives."""
        for process in (*self.owners, *self.runners):
            process.kill()
        await self.pulse.rest()
        await self.redis.close()

    # Facts -----------------------------------------------------------------------------------------------------------

    def fact(self, job: str, fact: Fact) -> int:
        """Append a fact; its offset."""
        return self.log.write(job, fact.fact_type, fact.encode())

    def submit(
        self,
        number: int,
        items: Sequence[str] = ("a", "b", "c"),
        *,
        labels: dict[str, str] | None = None,
        max_failed: int = 0,
        active_timeout_ms: int | None = None,
        expires_after_ms: int = _MAX_JOB_AGE_MS,
        max_cost_micros: int | None = None,
        submitted_by: str | None = None,
    ) -> str:
        """A submit, as admission writes it down; the job's id."""
        job = job_id(number)
        terms = JobTerms(
            workload="python",
            tenant="default",
            submitted_by=submitted_by,
            labels=labels or {},
            active_timeout_ms=active_timeout_ms,
            expires_after_ms=expires_after_ms,
            max_failed_items=max_failed,
            max_cost_micros=max_cost_micros,
        )
        content = {"workload": "python", "items": list(items), "labels": terms.labels}
        accepted = JobAccepted(
            inbox=self.inbox(),
            original=orjson.dumps(content).decode(),
            content_hash=content_hash(content),
            terms=terms,
            items_total=len(items),
            submitted_at=self.clock.now_ms(),
            trace_id=UUID(job).hex,
            traceparent=f"00-{UUID(job).hex}-00000000000000a1-01",
        )
        self._accept(job, accepted)
        return job

    def repeat(self, number: int, *, redelivered: bool = False) -> None:
        """The first submit of a job again: as a record of its own, or the same record once more."""
        job = job_id(number)
        first = next(r for r in self.log.records if r.key == job and r.fact_type == JobAccepted.fact_type)
        accepted = JobAccepted.model_validate_json(first.value)
        if not redelivered:
            accepted = accepted.model_copy(update={"inbox": self.inbox()})
        self._accept(job, accepted)

    def _accept(self, job: str, accepted: JobAccepted) -> None:
        self.submitted.append(Submitted(job, accepted.inbox.coordinates, accepted.content_hash))
        self.fact(job, accepted)

    def inbox(self) -> InboxRecord:
        """Coordinates that no other record has."""
        self._inbox_offset += 1
        return InboxRecord(topic="world.jobs", partition=0, offset=self._inbox_offset)

    def cancel(self, number: int) -> None:
        """Somebody cancels."""
        self.fact(job_id(number), JobCancelRequested(inbox=self.inbox(), reason="enough"))

    def decide(self, number: int, *, approve: bool, inbox: InboxRecord | None = None, by: str = "ann") -> InboxRecord:
        """Somebody decides on a hold; the coordinates of the command."""
        inbox = inbox or self.inbox()
        decision: Decision = "approve" if approve else "reject"
        self.fact(job_id(number), JobDecided(inbox=inbox, decision=decision, by=by))
        return inbox

    def pause(self, number: int, seconds: float) -> None:
        """A runner met a quota."""
        until = self.clock.now_ms() + round(seconds * 1000)
        self.fact(job_id(number), JobPaused(reason="quota", until=until))

    def results(self, number: int, *indexes: int, epoch: int = 1, attempt: int = 1, micros: int | None = None) -> int:
        """Results, as from a runner that nobody sees."""
        made = tuple(
            FactResult(item_index=i, status="succeeded", output="unseen", attempt=attempt, cost_micros=micros)
            for i in indexes
        )
        chunk = f"{job_id(number)}/0/{epoch}/{indexes[0]}-{indexes[-1]}"
        fact = ItemsCompleted(epoch=epoch, chunk_id=chunk, engine="celery", worker_id="unseen", results=made)
        return self.fact(job_id(number), fact)

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
            self.raise_breaches()

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

    async def deliver(self, index: int = 0, *, keep: bool = False) -> RunnerProcess:
        """The engine gives a task to a worker; `keep`: and will give it to another one, too."""
        task = self.queue[index] if keep else self.queue.pop(index)
        runner = RunnerProcess(f"runner-{len(self.runners)}", self, task)
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
            self.run_died(process)
        process.kill()

    async def thaw(self, runner: RunnerProcess, calls: int = 0) -> None:
        """SIGCONT; the process' work makes some calls before the timers fire that came due meanwhile."""
        runner.thaw()
        await self.advance(runner, calls)
        runner.release_timers()
        await self.pulse.rest()
        self.raise_breaches()

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
            self.raise_breaches()
            seconds -= step

    async def wipe(self) -> None:
        """FLUSHALL."""
        await self.redis.wipe()

    async def remember(self) -> None:
        """Note Redis as it is now, for a later `roll_back`."""
        self.pasts.append(await self.redis.remember(self.clock.monotonic()))

    async def roll_back(self, index: int = -1, *, restart: bool) -> None:
        """Redis is as it was once; with `restart` under another run id, as after a restart from an older file."""
        self.is_torn = self.is_torn or self._rolled_back or not restart
        self._rolled_back = self.may_empty = True
        if restart:
            await self.redis.restart()
        await self.redis.roll_back(self.pasts[index], self.clock.monotonic())

    async def restart_redis(self, *, empty: bool) -> None:
        """Redis restarts, with all that it held or with nothing."""
        kept = await self.redis.remember(self.clock.monotonic())
        await self.redis.restart()
        if not empty:
            await self.redis.roll_back(kept, self.clock.monotonic())

    # What the ports report -------------------------------------------------------------------------------------------

    def _report(self, message: str) -> None:
        """Note a breach inside a process, whose code must not be able to swallow it."""
        self.breaches.append(message)

    def raise_breaches(self) -> None:
        """Raise what processes were seen to do.

        Raises:
            Breach: the first of it.
        """
        if self.breaches:
            raise Breach(self.breaches[0])

    def snapshot_emptied(self) -> None:
        """An owner throws a snapshot away."""
        if not self.may_empty:
            self._report("an owner emptied a snapshot that fitted its log")

    def run_claimed(self, process: RunnerProcess, run: Run) -> None:
        """A runner got a claim."""
        for other in self.live_runners:
            theirs = other.run
            if other is process or theirs is None or theirs.has_ended or theirs.killed_by is not None:
                continue
            is_live = self.clock.monotonic() - theirs.renewed_at < LEASE_SECONDS
            both = set(theirs.missing) & set(run.missing) - self.items_in(run.chunk.job_id)
            if is_live and theirs.chunk.job_id == run.chunk.job_id and both and not self.is_torn:
                self._report(f"{process.name} was given items {both}, which {other.name} runs under a live lease")
        process.run = run

    def run_renewed(self, process: RunnerProcess, renewal: Renewal) -> None:
        """A runner renewed, or learned that it must stop."""
        run = process.run
        if run is None:
            return
        now = self.clock.monotonic()
        lapsed = now - run.renewed_at >= LEASE_SECONDS
        if renewal is Renewal.HELD:
            run.renewed_at = now
            return
        run.killed_by = renewal
        still_missing = set(run.missing) - self.items_in(run.chunk.job_id)
        if lapsed:
            self.run_died(process)
        elif renewal is not Renewal.JOB_ENDED and still_missing and not self.is_torn:
            self._report(f"{process.name}, a healthy run of {run.chunk}, was killed: {renewal.value}")

    def run_died(self, process: RunnerProcess) -> None:
        """A runner dies with its claim."""
        if process.run is not None and not process.run.has_ended:
            for item in process.run.missing:
                self.deaths[process.run.chunk.job_id, item] += 1

    def item_begins(self, process: RunnerProcess) -> None:
        """A run turns to an item."""
        run = process.run
        if run is None:
            self._report(f"{process.name} runs an item without a claim")
        elif run.killed_by is not None:
            self._report(f"{process.name} runs an item though it was told to stop: {run.killed_by.value}")
        elif self.clock.monotonic() - run.renewed_at >= LEASE_SECONDS:
            self._report(f"{process.name} turns to an item on a lease that lapsed, without asking")

    def item_runs(self, job: str, index: int) -> int:
        """An item has its effect; the number of this execution."""
        self.executions[job, index] += 1
        self._executed += 1
        return self._executed

    def items_in(self, job: str) -> set[int]:
        """The items of a job whose results stand in the log."""
        facts = (
            ItemsCompleted.model_validate_json(record.value)
            for record in self.log.records
            if record.key == job and record.fact_type == ItemsCompleted.fact_type
        )
        return {result.item_index for fact in facts for result in fact.results}

    # The end ---------------------------------------------------------------------------------------------------------

    async def settle(self, *, keep_faults: bool = False) -> None:
        """Faults stop; everything comes to rest within a bound, or that is a breach."""
        self._raise_failures()
        if not keep_faults:
            self.log.faults.clear()
        self.redis.faults.clear()
        self.log.skew_ms = 0
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
        accepted = {r.key for r in self.log.records if r.fact_type == JobAccepted.fact_type}
        ended = {r.key for r in self.log.records if r.fact_type == "job.ended"}
        return accepted <= ended
