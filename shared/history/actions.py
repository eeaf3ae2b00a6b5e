"""What an owner does with its states once it has caught up: ends, timers, decisions, dispatch, looks at claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, cast

from redis.exceptions import RedisError

from shared.errors import RetryableError
from shared.history.chunk_id import ChunkId
from shared.history.chunk_sender import Sender
from shared.history.clock import Clock, Waking
from shared.history.log import PartitionLog
from shared.history.machine import DecisionDue, DispatchDue, Due, EndDue, Machine, MarkDue, NewFact, S, TimerDue
from shared.history.owner_memory import Memory
from shared.history.owner_parts import Decider, Dispatcher, Observer, OwnerTimes
from shared.history.snapshot import PartitionStore
from shared.history.subject_failures import OwnTrouble

_ASK_AGAIN_SECONDS = 1.0
"""Wait before a timer that fired too early by the broker's clock, or a decision that failed, is tried again."""

_DECIDE_SECONDS = 0.005
"""So long one step decides. What is due beyond that waits for the next one, which looks for more urgent facts first."""

_FORGET_AT_ONCE = 500
"""Most states that one call to Redis looks at."""


@dataclass(frozen=True, slots=True)
class _Appending:
    what: str
    subject: str
    fact: NewFact


class Actor(Generic[S]):
    """Acts on the states of one partition. All it does is safe to repeat; nothing it skips is lost."""

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
        waking: Waking,
    ) -> None:
        self._machine = machine
        self._log = log
        self._store = store
        self._decider = decider
        self._trouble = OwnTrouble(machine.history_topic, clock)
        self._sender = Sender(dispatcher, self._trouble, partition=partition, clock=clock)
        self._times = times
        self._clock = clock
        self._observer = observer
        self._waking = waking
        self._swept_at = self._looked_at = self._forgot_at = clock.monotonic()

    def shorten(self, memory: Memory[S], wait_seconds: float) -> float:
        """How long to wait for facts at most, so that no timer is missed and no decision waits for them."""
        if memory.is_caught_up and memory.undecided:
            return 0.0
        wake = memory.agenda.next_wake()
        if wake is None or not memory.is_caught_up:  # what is still to be folded may change or end the timer
            return wait_seconds
        return min(wait_seconds, max(0.0, (wake - self._clock.now_ms()) / 1000))

    async def act(self, memory: Memory[S]) -> None:
        """Do what is due. What fails for one subject, or at one engine, is logged and stays due; the rest goes on.

        Raises:
            LostOwnershipError: the partition is no longer as it was loaded.
            RetryableError, redis.RedisError: the broker or Redis did not answer; what is due stays due.
        """
        now = self._clock.monotonic()
        await self._open_gate(memory, now)
        if now - self._swept_at >= self._times.sweep:
            self._swept_at = now
            self._sweep(memory, now)
        looks = memory.is_open and now - self._looked_at >= self._times.look
        if looks:
            self._looked_at = now
            await self._look(memory, now)
        subjects = memory.agenda.take(self._clock.now_ms())
        try:
            await self._act_on(memory, subjects, now)
        except BaseException:
            # What was done half-way stays due: at the next step, or at the next sweep what had waited for a decision.
            for subject in subjects:
                memory.agenda.attend(subject)
            raise
        # Last, because an engine may take long to refuse.
        await self._sender.fill(memory)
        if looks:
            await self._send_again(memory, now)
        if trouble := self._trouble.to_note():
            await self._store.note_trouble(trouble)
            self._trouble.noted(trouble)
        if now - self._forgot_at >= self._times.forget:
            self._forgot_at = now
            await self._forget(memory)

    async def _open_gate(self, memory: Memory[S], now: float) -> None:
        if memory.is_open:
            return
        if not memory.was_ready:
            holds_chunks = any(True for state in memory.states.values() for _ in self._machine.chunks(state))
            is_early = now - memory.loaded_at < self._times.lease or self._waking.was_within(self._times.lease)
            if holds_chunks and is_early:
                return
            await self._store.open_gate(memory.guard)
        memory.is_open = True

    def _sweep(self, memory: Memory[S], now: float) -> None:
        for subject in memory.states:
            memory.agenda.attend(subject)
        memory.agenda.forget_passed(memory.position, now)

    async def _act_on(self, memory: Memory[S], subjects: set[str], now: float) -> None:
        now_ms = self._clock.now_ms()
        ends: list[tuple[str, EndDue]] = []
        facts: list[_Appending] = []
        for subject in subjects:
            state = memory.states.get(subject)
            due, dispatches = ([], iter(())) if state is None else self._due(subject, state, now_ms)
            self._sender.await_room(memory, subject, dispatches)
            for entry in due:
                if isinstance(entry, EndDue) and memory.agenda.may_ask(f"end {subject}", memory.position, now):
                    ends.append((subject, entry))
                elif isinstance(entry, MarkDue) and memory.agenda.may_ask(f"end {subject}", memory.position, now):
                    facts.append(_Appending(f"end {subject}", subject, entry.mark))
                elif isinstance(entry, TimerDue) and memory.agenda.may_ask(entry.timer_id, memory.position, now):
                    memory.agenda.postpone(entry.timer_id, now + _ASK_AGAIN_SECONDS)
                    facts.append(_Appending(entry.timer_id, subject, entry.fact))
                elif isinstance(entry, DecisionDue) and state is not None:
                    memory.undecided.add(subject, self._sender.rank(subject, state))
        if ends:
            await self._log.publish([due.publication for _, due in ends])
            for subject, _ in ends:
                self._tell_end(subject, memory.states[subject])
            facts += [_Appending(f"end {subject}", subject, due.mark) for subject, due in ends]
        facts += await self._decisions(memory, now)
        await self._append(memory, facts)

    def _due(self, subject: str, state: S, now_ms: int) -> tuple[list[Due], Iterator[DispatchDue]]:
        """What is due, and the dispatches, which nobody has made yet but the first."""
        due: list[Due] = []
        try:
            entries = iter(self._machine.due(state, now_ms))
            for entry in entries:
                if isinstance(entry, DispatchDue):
                    return due, self._dispatches(subject, entry, cast("Iterator[DispatchDue]", entries))
                due.append(entry)
        except Exception as error:  # noqa: BLE001 - logged, and asked again at the next sweep
            self._trouble.tell(subject, "due", error)
            return [], iter(())
        return due, iter(())

    def _dispatches(self, subject: str, first: DispatchDue, others: Iterator[DispatchDue]) -> Iterator[DispatchDue]:
        yield first
        try:
            yield from others
        except Exception as error:  # noqa: BLE001 - logged, and asked again at the next sweep
            self._trouble.tell(subject, "due", error)

    def _tell_end(self, subject: str, state: S) -> None:
        try:
            self._observer.published_end(state)
        except Exception as error:  # noqa: BLE001 - logged; the end is published
            self._trouble.tell(subject, "observe", error)

    async def _decisions(self, memory: Memory[S], now: float) -> list[_Appending]:
        """The decisions that are due, by rank, as far as they are made in `_DECIDE_SECONDS`."""
        facts: list[_Appending] = []
        until = self._clock.monotonic() + _DECIDE_SECONDS
        while (subject := memory.undecided.take()) is not None:
            state = memory.states.get(subject)
            if state is None:
                continue
            due, _ = self._due(subject, state, self._clock.now_ms())
            for entry in due:
                if isinstance(entry, DecisionDue):
                    try:
                        facts += await self._decided(memory, subject, state, entry, now)
                    except (RetryableError, RedisError, OSError) as error:
                        # A dependency does not answer: the next subject would wait just as long, so all wait for the
                        # next sweep.
                        self._trouble.tell(subject, "decide", error)
                        memory.agenda.postpone(_decision(subject, entry), now + _ASK_AGAIN_SECONDS)
                        memory.undecided.clear()
            if self._clock.monotonic() >= until:
                break
        return facts

    async def _decided(
        self, memory: Memory[S], subject: str, state: S, due: DecisionDue, now: float
    ) -> list[_Appending]:
        what = _decision(subject, due)
        if not memory.agenda.may_ask(what, memory.position, now):
            return []
        fact: NewFact | None = None
        try:
            fact = await self._decider.decide(state, due)
        except (RetryableError, RedisError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - logged; one subject that trips the decider must not stop all others
            self._trouble.tell(subject, "decide", error)
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

    async def _look(self, memory: Memory[S], now: float) -> None:
        # Leases ran on while this machine was suspended, so its runs first get the time to say that they have stopped.
        # Redis is asked even without chunks: so an idle owner notices that it was wiped, or that another one took over.
        chunks = [] if self._waking.was_within(self._times.lease) else memory.window.chunks()
        words = await self._store.look(memory.guard, chunks)
        for text, word in words.items():
            if word == "absent":
                memory.window.unclaimed(text, now)
            else:
                memory.window.claimed(text, now)
        dead: dict[str, list[ChunkId]] = {}
        for text in await self._silent(memory, [text for text, word in words.items() if word == "dead"]):
            chunk = ChunkId.parse(text)
            dead.setdefault(chunk.job_id, []).append(chunk)
        facts: list[_Appending] = []
        for subject, identities in dead.items():
            state = memory.states.get(subject)
            what = f"replan {subject}"
            if state is not None and memory.agenda.may_ask(what, memory.position, now):
                try:
                    plan = self._machine.replan(state, identities)
                except Exception as error:  # noqa: BLE001 - logged, and asked again at the next look
                    self._trouble.tell(subject, "replan", error)
                    continue
                facts += [_Appending(what, subject, fact) for fact in plan]
        await self._append(memory, facts)

    async def _silent(self, memory: Memory[S], dead: Sequence[str]) -> list[str]:
        """The dead chunks of which the log had nothing more to say when they were seen dead for the first time.

        A run that gave its chunk back leaves the claim to its lease: an owner that is behind reads of it later.
        """
        if not memory.seen_dead.keys() >= set(dead):
            _, end = await self._log.bounds()
            memory.seen_dead = dict.fromkeys(dead, end) | memory.seen_dead
        memory.seen_dead = {text: memory.seen_dead[text] for text in dead}
        return [text for text in dead if memory.seen_dead[text] <= memory.position]

    async def _send_again(self, memory: Memory[S], now: float) -> None:
        overdue: dict[str, set[str]] = {}
        for text in memory.window.overdue(now):
            overdue.setdefault(ChunkId.parse(text).job_id, set()).add(text)
        again: list[tuple[S, DispatchDue]] = []
        for subject, texts in overdue.items():
            state = memory.states.get(subject)
            if state is not None:
                _, dispatches = self._due(subject, state, self._clock.now_ms())
                found = (due for due in dispatches if str(due.chunk) in texts)
                again += [(state, due) for due in islice(found, len(texts))]
        await self._sender.again(memory, again)

    async def _forget(self, memory: Memory[S]) -> None:
        """Forget settled subjects all of whose facts the log has dropped."""
        start, _ = await self._log.bounds()
        while await self._store.forget(memory.guard, start, _FORGET_AT_ONCE) == _FORGET_AT_ONCE:
            pass


def _decision(subject: str, due: DecisionDue) -> str:
    return f"decision {subject} {due.n}"
