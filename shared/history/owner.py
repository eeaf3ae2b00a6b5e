"""The owner of one history partition: fold, publish, advance, act (see the rules in docs/explanation/guarantees.md).

A prototype of this order of steps was model-checked; each obvious shortcut lost, repeated or blocked a job.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Generic

from shared.errors import LostOwnershipError, RetryableError
from shared.history.actions import Actor
from shared.history.agenda import Agenda
from shared.history.batch import fold_batch
from shared.history.clock import Clock, Waking
from shared.history.dispatch_window import DispatchWindow, WindowGroup
from shared.history.facts import FactRecord
from shared.history.log import PartitionLog, record_hash
from shared.history.machine import Machine, S
from shared.history.owner_memory import Memory
from shared.history.owner_parts import Decider, Dispatcher, NoObserver, Observer, OwnerTimes
from shared.history.settled_state import DamagedStateError, decoded, packed
from shared.history.snapshot import Advance, Guard, PartitionStore, Snapshot
from shared.history.subject_failures import OwnTrouble

BATCH_RECORDS = 500
"""Most facts, hence most subjects, of one batch."""

_LIVE_RECORDS = 50
"""The same once it has caught up: the owners of a process take turns, and each fact takes half a millisecond."""

_STEP_SECONDS = 0.25
"""So often it looks for what no fact tells, as room with an engine."""

_MAX_LOADS = 5
_REFILL_AGAIN_SECONDS = 3600.0
_SURE_SECONDS = 5.0


class Owner(Generic[S]):
    """Owns one partition of one history.

    `step()` is the whole loop body; the caller repeats it and answers `LostOwnershipError` by confirming the
    assignment with the group before the next step, which loads again.
    """

    def __init__(  # noqa: PLR0913 - each is a part of it
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
        observer: Observer[S] | None = None,
        waking: Waking | None = None,
        windows: WindowGroup | None = None,
    ) -> None:
        self._machine = machine
        self._log = log
        self._store = store
        self._times = times
        self._clock = clock
        self._window_size = window_size
        self._windows = windows or WindowGroup()
        self._observer: Observer[S] = observer or NoObserver()
        self._actor = Actor(
            machine,
            log,
            store,
            decider,
            dispatcher,
            partition=partition,
            times=times,
            clock=clock,
            observer=self._observer,
            waking=waking or Waking(clock),
        )
        self._trouble = OwnTrouble(machine.history_topic, clock)
        self._memory: Memory[S] | None = None
        self._position = 0
        self._refilled_at = -math.inf

    @property
    def states(self) -> Mapping[str, S]:
        """The states of live subjects as last advanced; empty before the first load."""
        return self._memory.states if self._memory is not None else {}

    @property
    def position(self) -> int:
        """Offset of the next fact to fold, as last known; 0 before the first load."""
        return self._position

    @property
    def is_open(self) -> bool:
        """Whether this owner has seen its gate open."""
        return self._memory is not None and self._memory.is_open

    @property
    def idle_seconds(self) -> float:
        """How long its next step should wait for facts: without live subjects, until it has to look at Redis.

        Owners without subjects end their waits at the same moments, so that they wake the process, and ask, together.
        """
        memory = self._memory
        if memory is None or memory.states or not memory.is_open:
            return _STEP_SECONDS
        now = self._clock.monotonic()
        return math.ceil((now + self._times.look) / _STEP_SECONDS) * _STEP_SECONDS - now

    async def step(self, wait_seconds: float) -> int:
        """Load if need be, fold one batch (waiting for its first fact), and act. Returns the number of facts folded.

        Raises:
            LostOwnershipError: the partition is no longer as it was loaded. Confirm the assignment, then go on.
            RetryableError, redis.RedisError: a dependency did not answer; go on after a back-off.
            UnreadableFactError, DamagedStateError: stop.
        """
        try:
            return await self._step(wait_seconds)
        except LostOwnershipError:
            self._memory = None
            self._tell(self._observer.lost)
            raise

    async def _step(self, wait_seconds: float) -> int:
        memory = self._memory
        if memory is None:
            memory = self._memory = await self._load()
            self._position = memory.position
            wait_seconds = 0.0
        wait_seconds = self._actor.shorten(memory, wait_seconds)
        most = _LIVE_RECORDS if memory.is_caught_up else BATCH_RECORDS
        records = await self._log.read(memory.position, max_records=most, wait_seconds=wait_seconds)
        began = self._clock.monotonic()
        if records:
            await self._batch(memory, records)
        if memory.is_caught_up:
            await self._actor.act(memory)
        if records:
            self._tell(self._observer.folded, len(records), self._clock.monotonic() - began)
        return len(records)

    def _tell(self, tell: Callable[..., None], *what: object) -> None:
        try:
            tell(*what)
        except Exception as error:  # noqa: BLE001 - logged; what was done is done
            self._trouble.tell("", "observe", error)

    async def _load(self) -> Memory[S]:
        for _ in range(_MAX_LOADS):
            snapshot = await self._store.load(uuid.uuid4().hex)
            # Read after `applied`: an end read before it could lie below it.
            start, end = await self._log.bounds()
            if await self._continues(snapshot, start, end):
                try:
                    states = self._decoded(snapshot)
                except DamagedStateError as damage:
                    await self._refill(snapshot.guard, damage)
                    continue
                break
            await self._store.empty(snapshot.guard)
        else:
            raise LostOwnershipError("the partition's snapshot never fitted its log")
        position = start if snapshot.applied is None else max(snapshot.applied, start)
        if snapshot.applied is not None and not snapshot.knows_live:
            states = await self._separated(snapshot, snapshot.applied, states)
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
            window=DispatchWindow(self._window_size, self._times.claim_timeout, self._windows),
            last_record=snapshot.last_record,
        )
        for subject, state in states.items():
            memory.agenda.attend(subject)
            memory.agenda.wake(subject, self._machine.wake_at(state))
            for chunk in map(str, self._machine.chunks(state)):
                if chunk in snapshot.claimed:
                    memory.window.claimed(chunk, now, self._machine.lane(state))
        return memory

    def _decoded(self, snapshot: Snapshot) -> dict[str, S]:
        bitmaps = snapshot.bitmaps
        return {name: decoded(self._machine, raw, bitmaps.get(name, b"")) for name, raw in snapshot.states.items()}

    async def _refill(self, guard: Guard, damage: DamagedStateError) -> None:
        """Have Redis filled from the log's start, since it holds something that is no state.

        Raises:
            DamagedStateError: it was not long ago. If states that this release writes cannot be read, that never helps.
        """
        now = self._clock.monotonic()
        if now - self._refilled_at < _REFILL_AGAIN_SECONDS:
            raise damage
        if await self._store.empty(guard):
            self._refilled_at = now

    async def _separated(self, snapshot: Snapshot, applied: int, states: Mapping[str, S]) -> dict[str, S]:
        """The live states of a partition that an earlier release has written; Redis is told which they are."""
        is_settled = self._machine.is_settled
        settled = sorted((self._machine.last_offset(s), name) for name, s in states.items() if is_settled(s))
        for first in range(0, len(settled), BATCH_RECORDS):
            some = settled[first : first + BATCH_RECORDS]
            advance = Advance(applied, snapshot.last_record, is_live_whole=False)
            advance.states.update((name, packed(self._machine.encode(states[name]), last)) for last, name in some)
            advance.settled.update((name, last) for last, name in some)
            await self._store.advance(snapshot.guard, advance)
        live = {name: state for name, state in states.items() if not is_settled(state)}
        await self._store.advance(snapshot.guard, Advance(applied, snapshot.last_record, live=set(live)))
        return live

    async def _continues(self, snapshot: Snapshot, start: int, end: int) -> bool:
        """Whether the snapshot is of this log: `applied` lies inside it, behind the very record it remembers."""
        applied = snapshot.applied
        if applied is None:
            return not snapshot.states
        if not start <= applied <= end:
            return False
        if applied == start:
            return True
        (record, *_) = await self._read_surely(applied - 1, end, max_records=1)
        return record_hash(record) == snapshot.last_record

    async def _marked_between(self, position: int, end: int) -> frozenset[str]:
        marked: set[str] = set()
        while position < end:
            records = await self._read_surely(position, end, max_records=BATCH_RECORDS)
            marked.update(r.key for r in records if r.offset < end and r.fact_type == self._machine.mark_fact_type)
            position = records[-1].offset + 1
        return frozenset(marked)

    async def _read_surely(self, offset: int, end: int, *, max_records: int) -> Sequence[FactRecord]:
        records = await self._log.read(offset, max_records=max_records, wait_seconds=_SURE_SECONDS)
        if not records:
            # A slow broker is no reason to throw a snapshot away.
            raise RetryableError(f"the log gave nothing at {offset} though it ends at {end}")
        return records

    async def _batch(self, memory: Memory[S], records: Sequence[FactRecord]) -> None:
        unknown = list({record.key: None for record in records if record.key not in memory.states})
        found = await self._store.recall(memory.guard, unknown) if unknown else {}
        try:
            memory.recalled = {name: decoded(self._machine, raw, bitmap) for name, (raw, bitmap) in found.items()}
        except DamagedStateError as damage:
            await self._refill(memory.guard, damage)
            raise LostOwnershipError(str(damage)) from damage
        # Until the advance memory is what Redis holds: the next step repeats a publication that failed.
        batch = fold_batch(self._machine, memory, records)
        if batch.publications:
            await self._log.publish(batch.publications)
        advance = batch.advance
        try:
            memory.guard = await self._store.advance(memory.guard, advance)
        except BaseException:
            # Whether Redis advanced is unknown: only a load can tell.
            self._memory = None
            raise
        memory.position = self._position = advance.applied
        memory.last_record = advance.last_record
        memory.window.drop(advance.finished, self._clock.monotonic())
        memory.recalled = {}
        if memory.is_caught_up:
            memory.marked_ahead = frozenset()
        for subject, state in batch.changed.items():
            if self._machine.is_settled(state):
                memory.settle(subject)
                continue
            memory.states[subject] = state
            memory.agenda.attend(subject)
            memory.agenda.wake(subject, self._machine.wake_at(state))
