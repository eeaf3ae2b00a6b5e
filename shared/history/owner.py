"""The owner of one history partition: fold, publish, advance, act (see the rules in docs/guarantees.md).

A prototype of this order of steps was model-checked; each obvious short cut lost, doubled or stuck a job.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic

from shared.errors import LostOwnershipError
from shared.history.acting import Actor
from shared.history.agenda import Agenda
from shared.history.facts import FactRecord
from shared.history.log import PartitionLog, record_hash
from shared.history.machine import DispatchDue, Machine, Publication, S
from shared.history.ports import Clock, Decider, Dispatcher
from shared.history.snapshot import Advance, Guard, PartitionStore, Snapshot
from shared.history.window import DispatchWindow

BATCH_RECORDS = 500
"""Most facts, hence most subjects, of one batch."""

_MAX_LOADS = 5


@dataclass(frozen=True, slots=True)
class OwnerTimes:
    """Seconds. `lease` is a claim's; `claim_timeout` the wait for one; `look` the time between looks at the claims."""

    lease: float
    claim_timeout: float
    look: float = 1.0
    sweep: float = 1.0
    forget: float = 60.0


@dataclass(slots=True)
class Memory(Generic[S]):
    """What an owner knows between a load and the next: dropped as a whole when ownership is in doubt."""

    guard: Guard
    position: int
    caught_up_at: int
    """The log's end when it was loaded (E)."""
    marked_ahead: frozenset[str]
    """Subjects whose end mark lies between `applied` and E (M)."""
    states: dict[str, S]
    was_ready: bool
    loaded_at: float
    agenda: Agenda
    window: DispatchWindow
    last_record: str = ""
    waiting: dict[str, list[DispatchDue]] = field(default_factory=dict)
    """Chunks that wait for room in the window, by subject."""
    is_open: bool = False

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that stood in the log at load has been folded."""
        return self.position >= self.caught_up_at


class Owner(Generic[S]):
    """Owns one partition of one history.

    `step()` is the whole loop body; the caller repeats it and answers `LostOwnershipError` by confirming the
    assignment with the group before the next step, which loads again.
    """

    def __init__(
        self,
        machine: Machine[S],
        log: PartitionLog,
        store: PartitionStore,
        decider: Decider[S],
        dispatcher: Dispatcher[S],
        *,
        partition: int,
        window_size: int,
        times: OwnerTimes,
        clock: Clock,
    ) -> None:
        self._machine = machine
        self._log = log
        self._store = store
        self._times = times
        self._clock = clock
        self._window_size = window_size
        self._actor = Actor(machine, log, store, decider, dispatcher, partition=partition, times=times, clock=clock)
        self._memory: Memory[S] | None = None
        self._position = 0

    @property
    def states(self) -> Mapping[str, S]:
        """The states as last advanced; empty before the first load."""
        return self._memory.states if self._memory is not None else {}

    @property
    def position(self) -> int:
        """Offset of the next fact to fold, as last known; 0 before the first load."""
        return self._position

    @property
    def is_open(self) -> bool:
        """Whether this owner has seen its gate open."""
        return self._memory is not None and self._memory.is_open

    async def step(self, wait_seconds: float) -> int:
        """Load if need be, fold one batch (waiting for its first fact), and act. Returns the number of facts folded.

        Raises:
            LostOwnershipError: something moved underneath. Memory is dropped; confirm the assignment, then go on.
            RetryableError: a dependency did not answer; go on after a back-off.
            UnreadableFactError: stop.
        """
        memory = self._memory
        if memory is None:
            memory = self._memory = await self._load()
            wait_seconds = 0.0
        wait_seconds = self._actor.shorten(memory, wait_seconds)
        try:
            records = await self._log.read(memory.position, max_records=BATCH_RECORDS, wait_seconds=wait_seconds)
            if records:
                await self._batch(memory, records)
        except BaseException:
            # Whether Redis advanced is unknown: only a load can tell.
            self._memory = None
            raise
        if memory.is_caught_up:
            try:
                await self._actor.act(memory)
            except LostOwnershipError:
                self._memory = None
                raise
        return len(records)

    async def _load(self) -> Memory[S]:
        for _ in range(_MAX_LOADS):
            snapshot = await self._store.load(uuid.uuid4().hex)
            # Read after `applied`: an end read before it could lie below it.
            start, end = await self._log.bounds()
            if await self._continues(snapshot, start, end):
                break
            await self._store.empty(snapshot.guard)
        else:
            message = "the partition's snapshot never fitted its log"
            raise LostOwnershipError(message)
        position = start if snapshot.applied is None else max(snapshot.applied, start)
        states = {
            subject: self._machine.decode(raw, snapshot.bitmaps.get(subject, b""))
            for subject, raw in snapshot.states.items()
        }
        now = self._clock.monotonic()
        memory = Memory(
            guard=snapshot.guard,
            position=position,
            caught_up_at=end,
            marked_ahead=await self._marked_between(position, end),
            states=states,
            was_ready=snapshot.is_ready,
            loaded_at=now,
            agenda=Agenda(),
            window=DispatchWindow(self._window_size, self._times.claim_timeout),
            last_record=snapshot.last_record,
        )
        for subject, state in states.items():
            memory.agenda.attend(subject)
            memory.agenda.wake(subject, self._machine.wake_at(state))
            for chunk in self._machine.chunks(state):
                if chunk in snapshot.claimed:
                    memory.window.claimed(chunk, now)
        return memory

    async def _continues(self, snapshot: Snapshot, start: int, end: int) -> bool:
        """Whether the snapshot is of this log: `applied` lies inside it, behind the very record it remembers."""
        applied = snapshot.applied
        if applied is None:
            return not snapshot.states
        if not start <= applied <= end:
            return False
        if applied == start:
            return True
        records = await self._log.read(applied - 1, max_records=1, wait_seconds=5.0)
        return bool(records) and record_hash(records[0]) == snapshot.last_record

    async def _marked_between(self, position: int, end: int) -> frozenset[str]:
        marked: set[str] = set()
        while position < end:
            records = await self._log.read(position, max_records=BATCH_RECORDS, wait_seconds=5.0)
            if not records:
                message = f"the log gave nothing at {position} though it ends at {end}"
                raise LostOwnershipError(message)
            marked.update(r.key for r in records if r.offset < end and r.fact_type == self._machine.mark_fact_type)
            position = records[-1].offset + 1
        return frozenset(marked)

    async def _batch(self, memory: Memory[S], records: Sequence[FactRecord]) -> None:
        machine = self._machine
        publications: list[Publication] = []
        changed: dict[str, S | None] = {}
        advance = Advance(applied=records[-1].offset + 1, last_record=record_hash(records[-1]))
        for record in records:
            subject = record.key
            before = changed[subject] if subject in changed else memory.states.get(subject)
            folded = machine.fold(before, record)
            changed[subject] = folded.state
            if folded.spec is not None:
                advance.specs[subject] = folded.spec
            published_before = record.offset < memory.caught_up_at and subject in memory.marked_ahead
            if folded.progress is not None and not published_before:
                publications.append(folded.progress)
            if folded.conflict is not None:
                publications.append(folded.conflict)
        if publications:
            await self._log.publish(publications)
        for subject, state in changed.items():
            if state is not None:
                self._describe(memory, advance, subject, state)
        memory.guard = await self._store.advance(memory.guard, advance)
        memory.position = self._position = advance.applied
        memory.last_record = advance.last_record
        memory.window.drop(chunk for chunk, job in advance.current.items() if job is None)
        for subject, state in changed.items():
            if state is not None:
                memory.states[subject] = state
                memory.agenda.attend(subject)
                memory.agenda.wake(subject, machine.wake_at(state))

    def _describe(self, memory: Memory[S], advance: Advance, subject: str, state: S) -> None:
        """Add to an advance what has become of one subject."""
        machine = self._machine
        before = memory.states.get(subject)
        advance.states[subject] = machine.encode(state)
        bitmap = machine.bitmap(state)
        if before is None or machine.bitmap(before) != bitmap:
            advance.bitmaps[subject] = bitmap or None
        if machine.is_ended(state):
            advance.specs[subject] = None
        old = machine.chunks(before) if before is not None else {}
        new = machine.chunks(state)
        for chunk in old:
            if chunk not in new:
                advance.current[chunk] = None
                advance.finished.add(chunk)
        for chunk in new:
            if chunk not in old:
                advance.current[chunk] = subject
