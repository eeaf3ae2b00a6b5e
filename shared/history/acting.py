"""What an owner does from advanced states, once caught up: ends, timers, decisions, dispatch, looks at claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from shared.history.chunks import ChunkId
from shared.history.log import PartitionLog
from shared.history.machine import DecisionDue, DispatchDue, EndDue, Machine, NewFact, S, TimerDue
from shared.history.ports import Clock, Decider, Dispatcher, Observer
from shared.history.snapshot import Advance, PartitionStore

if TYPE_CHECKING:
    from shared.history.owner import Memory, OwnerTimes

_ASK_AGAIN_SECONDS = 1.0
"""A timer that fired too early by the broker's clock, or a decision that could not be made, is asked again then."""

_FORGET_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Appending:
    what: str
    subject: str
    fact: NewFact


class Actor(Generic[S]):
    """Acts on the states of one partition. Everything it does may be done twice; nothing it skips is lost."""

    def __init__(
        self,
        machine: Machine[S],
        log: PartitionLog,
        store: PartitionStore,
        decider: Decider[S],
        dispatcher: Dispatcher[S],
        *,
        partition: int,
        times: OwnerTimes,
        clock: Clock,
        observer: Observer[S],
    ) -> None:
        self._machine = machine
        self._log = log
        self._store = store
        self._decider = decider
        self._dispatcher = dispatcher
        self._partition = partition
        self._times = times
        self._clock = clock
        self._observer = observer
        self._swept_at = self._looked_at = self._forgot_at = clock.monotonic()

    def shorten(self, memory: Memory[S], wait_seconds: float) -> float:
        """How long to wait for facts at most, so that the next timer is not missed."""
        wake = memory.agenda.next_wake()
        if wake is None:
            return wait_seconds
        return min(wait_seconds, max(0.0, (wake - self._clock.now_ms()) / 1000))

    async def act(self, memory: Memory[S]) -> None:
        """Do what is due.

        Raises:
            LostOwnershipError: something moved underneath.
            RetryableError: the broker, Redis or an engine did not answer; what is due stays due.
        """
        now = self._clock.monotonic()
        await self._open_gate(memory, now)
        if now - self._swept_at >= self._times.sweep:
            self._swept_at = now
            self._sweep(memory, now)
        if memory.is_open and now - self._looked_at >= self._times.look:
            self._looked_at = now
            await self._look(memory, now)
        subjects = memory.agenda.take(self._clock.now_ms())
        try:
            await self._act_on(memory, subjects, now)
            await self._dispatch(memory)
        except BaseException:
            # What was done half-way stays due, and is taken up at the next step.
            for subject in subjects:
                memory.agenda.attend(subject)
            raise
        if now - self._forgot_at >= self._times.forget:
            self._forgot_at = now
            await self._forget(memory)

    async def _open_gate(self, memory: Memory[S], now: float) -> None:
        if memory.is_open:
            return
        if not memory.was_ready:
            holds_chunks = any(self._machine.chunks(state) for state in memory.states.values())
            if holds_chunks and now - memory.loaded_at < self._times.lease:
                return
            await self._store.open_gate(memory.guard)
        memory.is_open = True

    def _sweep(self, memory: Memory[S], now: float) -> None:
        for subject, state in memory.states.items():
            if not self._machine.is_settled(state):
                memory.agenda.attend(subject)
        memory.agenda.forget_passed(memory.position, now)

    async def _act_on(self, memory: Memory[S], subjects: set[str], now: float) -> None:
        now_ms = self._clock.now_ms()
        ends: list[tuple[str, EndDue]] = []
        facts: list[_Appending] = []
        for subject in subjects:
            state = memory.states.get(subject)
            due = () if state is None else self._machine.due(state, now_ms)
            memory.waiting[subject] = [entry for entry in due if isinstance(entry, DispatchDue)]
            for entry in due:
                if isinstance(entry, EndDue) and memory.agenda.may_ask(f"end {subject}", memory.position, now):
                    ends.append((subject, entry))
                elif isinstance(entry, TimerDue) and memory.agenda.may_ask(entry.timer_id, memory.position, now):
                    memory.agenda.postpone(entry.timer_id, now + _ASK_AGAIN_SECONDS)
                    facts.append(_Appending(entry.timer_id, subject, entry.fact))
                elif isinstance(entry, DecisionDue) and state is not None:
                    facts += await self._decided(memory, subject, state, entry, now)
        if ends:
            await self._log.publish([due.publication for _, due in ends])
            for subject, _ in ends:
                self._observer.published_end(memory.states[subject])
            facts += [_Appending(f"end {subject}", subject, due.mark) for subject, due in ends]
        await self._append(memory, facts)

    async def _decided(
        self, memory: Memory[S], subject: str, state: S, due: DecisionDue, now: float
    ) -> list[_Appending]:
        what = f"decision {subject} {due.n}"
        if not memory.agenda.may_ask(what, memory.position, now):
            return []
        fact = await self._decider.decide(state, due)
        if fact is None:
            memory.agenda.postpone(what, now + _ASK_AGAIN_SECONDS)
            return []
        return [_Appending(what, subject, fact)]

    async def _append(self, memory: Memory[S], facts: Sequence[_Appending]) -> None:
        if not facts:
            return
        offsets = await self._log.append([(appending.subject, appending.fact) for appending in facts])
        for appending, offset in zip(facts, offsets, strict=True):
            memory.agenda.asked(appending.what, offset)

    async def _dispatch(self, memory: Memory[S]) -> None:
        """Fill the window of each lane, the lowest rank first."""
        memory.waiting = {subject: due for subject, due in memory.waiting.items() if due and subject in memory.states}
        taken, size = memory.window.taken(), memory.window.size
        with_room = [subject for subject, due in memory.waiting.items() if taken[due[0].lane] < size]
        chunks: list[tuple[S, DispatchDue]] = []
        for subject in sorted(with_room, key=lambda subject: self._dispatcher.rank(memory.states[subject])):
            for due in memory.waiting[subject]:
                if taken[due.lane] < size and str(due.chunk) not in memory.window:
                    taken[due.lane] += 1
                    chunks.append((memory.states[subject], due))
        await self._send(memory, chunks)

    async def _send(self, memory: Memory[S], chunks: Sequence[tuple[S, DispatchDue]]) -> None:
        if not chunks:
            return
        await self._dispatcher.dispatch(self._partition, chunks)
        now = self._clock.monotonic()
        for _, due in chunks:
            memory.window.sent(str(due.chunk), now, due.lane)

    async def _look(self, memory: Memory[S], now: float) -> None:
        # With nothing to look at, too: so an idle owner learns that Redis was wiped or is another's.
        words = await self._store.look(memory.guard, memory.window.chunks())
        dead: dict[str, list[ChunkId]] = {}
        for text, word in words.items():
            if word == "absent":
                memory.window.unclaimed(text, now)
                continue
            memory.window.claimed(text, now)
            if word == "dead":
                chunk = ChunkId.parse(text)
                dead.setdefault(chunk.job_id, []).append(chunk)
        facts: list[_Appending] = []
        for subject, identities in dead.items():
            state = memory.states.get(subject)
            what = f"replan {subject}"
            if state is not None and memory.agenda.may_ask(what, memory.position, now):
                facts += [_Appending(what, subject, fact) for fact in self._machine.replan(state, identities)]
        await self._append(memory, facts)
        await self._send_again(memory, now)

    async def _send_again(self, memory: Memory[S], now: float) -> None:
        again: list[tuple[S, DispatchDue]] = []
        for text in memory.window.overdue(now):
            state = memory.states.get(ChunkId.parse(text).job_id)
            due = state and self._machine.due(state, self._clock.now_ms())
            match = next((d for d in due or () if isinstance(d, DispatchDue) and str(d.chunk) == text), None)
            if state is not None and match is not None:
                again.append((state, match))
        await self._send(memory, again)

    async def _forget(self, memory: Memory[S]) -> None:
        """Forget settled subjects all of whose facts the log has dropped."""
        start, _ = await self._log.bounds()
        gone = [
            subject
            for subject, state in memory.states.items()
            if self._machine.is_settled(state) and self._machine.last_offset(state) < start
        ][:_FORGET_AT_ONCE]
        if not gone:
            return
        nothing: dict[str, bytes | None] = dict.fromkeys(gone)
        advance = Advance(memory.position, memory.last_record, states=dict(nothing), bitmaps=nothing)
        memory.guard = await self._store.advance(memory.guard, advance)
        for subject in gone:
            del memory.states[subject]
