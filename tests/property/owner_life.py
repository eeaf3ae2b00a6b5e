"""An owner's process: the shipped owner over ports that stop, fail and can be killed at every call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from services.router.engines.chunks.task import ChunkTask
from services.router.jobs.machine import JobMachine
from services.router.jobs.state import JobState
from shared.errors import LostOwnershipError, RetryableError
from shared.facts.jobs import JobHeld, JobRefused, JobRouted
from shared.history.facts import FactRecord, fact_headers
from shared.history.log import Bounds
from shared.history.machine import DecisionDue, DispatchDue, NewFact, Publication
from shared.history.owner import Owner
from shared.history.owner_parts import OwnerTimes, Rank
from shared.history.snapshot import Advance, ClaimWord, Guard, PartitionStore, Snapshot
from shared.priorities import PRIORITIES
from tests.property.fact_writer import BY_ADVICE
from tests.property.process import Process

if TYPE_CHECKING:
    from tests.property.world import World

LEASE_SECONDS = 900.0
HEARTBEAT_SECONDS = 300.0
CLAIM_TIMEOUT_SECONDS = 3600.0
LOOK_SECONDS = 60.0
HOLD_SECONDS = 7200.0

TIMES = OwnerTimes(
    lease=LEASE_SECONDS, claim_timeout=CLAIM_TIMEOUT_SECONDS, look=LOOK_SECONDS, sweep=LOOK_SECONDS, forget=600.0
)
"""Long against the real duration of a test, so that real time, which Redis sees too, decides nothing."""

_MOST_READS_IN_VAIN = 20


@dataclass(slots=True)
class OwnerLog:
    """`PartitionLog` of one owner's process.

    As with a real client, what is read is fetched first, which takes a moment in which the process' loop must run: a
    read that waits for nothing gets what has been fetched by then. Who asks for nothing else, again and again, spins.
    """

    world: World
    process: OwnerProcess
    _at_hand: range = range(0)
    _fetching: tuple[int, float, int] | None = None
    _in_vain: tuple[int, int] = (0, 0)

    async def bounds(self) -> Bounds:
        """Start and end."""
        await self.process.stop("bounds")
        return self.world.log.bounds()

    async def read(self, offset: int, *, max_records: int, wait_seconds: float) -> Sequence[FactRecord]:
        """At most as many records as the world gives at once; nothing is waited for."""
        self.world.last_wait, self.process.reads_at = wait_seconds, offset
        await self.process.stop("read")
        if wait_seconds <= 0 and not self._has_fetched(offset):
            return []
        records = self.world.log.read(offset, min(max_records, self.world.records_at_once))
        self._at_hand = range(offset, self.world.log.end)
        return records

    def _has_fetched(self, offset: int) -> bool:
        now, calls = self.world.clock.monotonic(), self.process.calls
        if self._fetching is not None and self._fetching[0] == offset:
            _, since, calls_then = self._fetching
            if now > since or calls > calls_then + 1:
                return True
            self._fetching = (offset, since, calls)
        elif offset in self._at_hand:
            return True
        else:
            self._fetching = (offset, now, calls)
        second, reads = self._in_vain
        reads = reads + 1 if second == int(now) else 1
        self._in_vain = (int(now), reads)
        if reads > _MOST_READS_IN_VAIN:
            self.world.witness.report(f"{self.process.name} spins: it reads at {offset}, and lets nothing else run")
        return False

    async def append(self, facts: Sequence[tuple[str, NewFact]]) -> Sequence[int]:
        """Append."""
        await self.process.stop("append")
        return self.world.log.append(facts)

    async def publish(self, publications: Sequence[Publication]) -> None:
        """Publish."""
        await self.process.stop("publish")
        self.world.log.publish(publications)


class OwnerStore(PartitionStore):
    """The shipped store, behind the process' ports."""

    def __init__(self, world: World, process: OwnerProcess) -> None:
        super().__init__(world.redis.client, world.keys)
        self._world = world
        self._process = process

    async def load(self, token: str) -> Snapshot:
        """Load."""
        await self._process.stop("load")
        snapshot: Snapshot = await self._world.redis.call(super().load(token))
        self._process.sent.clear()
        return snapshot

    async def advance(self, guard: Guard, advance: Advance) -> Guard:
        """Advance."""
        await self._process.stop("advance")
        advanced: Guard = await self._world.redis.call(self._advance_and_note(guard, advance, self._process.reads_at))
        return advanced

    async def _advance_and_note(self, guard: Guard, advance: Advance, began_at: int) -> Guard:
        advanced = await super().advance(guard, advance)
        await self._world.mirror.advanced(advance.applied, began_at if guard.applied == "" else None)
        return advanced

    async def recall(self, guard: Guard, subjects: Sequence[str]) -> dict[str, tuple[bytes, bytes]]:
        """Recall settled subjects."""
        await self._process.stop("recall")
        found: dict[str, tuple[bytes, bytes]] = await self._world.redis.call(super().recall(guard, subjects))
        return found

    async def forget(self, guard: Guard, log_start: int, most: int) -> int:
        """Forget settled subjects whose facts are gone."""
        await self._process.stop("forget")
        looked_at: int = await self._world.redis.call(super().forget(guard, log_start, most))
        return looked_at

    async def open_gate(self, guard: Guard) -> None:
        """Open the gate."""
        await self._process.stop("open_gate")
        await self._world.redis.call(super().open_gate(guard))

    async def empty(self, guard: Guard) -> bool:
        """Empty; a snapshot that fits its log is never to be emptied."""
        await self._process.stop("empty")
        emptied: bool = await self._world.redis.call(self._empty_and_note(guard))
        return emptied

    async def _empty_and_note(self, guard: Guard) -> bool:
        fitted = await self._world.mirror.fits()
        emptied = await super().empty(guard)
        if fitted and not await self._world.mirror.fits():
            self._world.witness.report("an owner emptied a snapshot that fitted its log")
        return emptied

    async def look(self, guard: Guard, chunks: Sequence[str]) -> dict[str, ClaimWord]:
        """Look at claims."""
        await self._process.stop("look")
        words: dict[str, ClaimWord] = await self._world.redis.call(super().look(guard, chunks))
        return words

    async def note_trouble(self, trouble: Mapping[str, str | None]) -> None:
        """Note trouble; it depends on nothing, so no process stops before it."""
        await self._world.redis.call(super().note_trouble(trouble))


@dataclass(slots=True)
class WorldDecider:
    """Policy: `critical` advice is refused; by labels `later`, `refuse`, `hold` (once), chunks of `chunk` items."""

    world: World
    process: Process

    async def decide(self, state: JobState, due: DecisionDue) -> NewFact | None:
        """The decision."""
        await self.process.stop("decide")
        labels = state.terms.labels if state.terms is not None else {}
        if "later" in labels and not self.world.may_decide:
            return None
        fact: JobRefused | JobHeld | JobRouted
        if any(entry.advice.get("risk") == "critical" for entry in state.advice):
            fact = JobRefused(n=due.n, reason=BY_ADVICE)
        elif "refuse" in labels:
            fact = JobRefused(n=due.n, reason="policy")
        elif "hold" in labels and not state.approved:
            until = self.world.clock.now_ms() + round(HOLD_SECONDS * 1000)
            remind_at = self.world.clock.now_ms() + round(HOLD_SECONDS * 500)
            fact = JobHeld(n=due.n, reason="needs a person", until=until, remind_at=remind_at)
        else:
            fact = JobRouted(n=due.n, engine="celery", chunk_items=int(labels.get("chunk", "2")), policy="world")
        return NewFact(fact.fact_type, fact.encode(), fact_headers(fact.fact_type, state.job_id, None))


@dataclass(slots=True)
class WorldDispatcher:
    """Puts tasks into the world's queue."""

    world: World
    process: OwnerProcess

    def rank(self, state: JobState) -> Rank:
        """As the router does it, all tenants of one weight."""
        if state.terms is None:
            return Rank(0, state.first_offset)
        return Rank(PRIORITIES[state.terms.priority], state.first_offset, state.terms.tenant)

    async def dispatch(self, partition: int, chunks: Sequence[tuple[JobState, DispatchDue]]) -> None:
        """Send tasks."""
        await self.process.stop("dispatch")
        if self.world.engine_is_down:
            raise RetryableError("the engine is down")
        self.world.witness.dispatched(self.process, [str(due.chunk) for _, due in chunks])
        for state, due in chunks:
            acceptance = state.acceptance
            self.world.queue.append(
                ChunkTask(
                    topic=self.world.keys.topic,
                    partition=partition,
                    chunk=str(due.chunk),
                    dispatched_at=self.world.clock.now_ms(),
                    attempt=due.attempt,
                    traceparent=acceptance.traceparent if acceptance is not None else "",
                )
            )


class OwnerProcess(Process):
    """Repeats the owner's step as `shared.history.ownership` does, with the world in the group's place.

    `reads_at` is the offset that it reads, or read last; `sent` says when it sent chunks since it loaded last.
    """

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name, world.witness.report)
        self._world = world
        self.reads_at = -1
        self.sent: dict[str, float] = {}
        self.owner: Owner[JobState] = Owner(
            JobMachine(),
            OwnerLog(world, self),
            OwnerStore(world, self),
            WorldDecider(world, self),
            WorldDispatcher(world, self),
            partition=world.keys.partition,
            window_size=world.window_size,
            times=TIMES,
            clock=world.clock,
        )

    async def live(self) -> None:
        """Own until killed."""
        while True:
            try:
                await self.owner.step(self._world.idle_seconds)
            except LostOwnershipError:
                await self.stop("confirm")
                while self._world.assigned is not self:
                    await self.stop("confirm")
            except (RetryableError, RedisError, OSError):
                await self.stop("back_off")
