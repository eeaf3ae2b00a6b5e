"""Sending chunks to engines: a window for each lane; an engine that takes nothing is left alone for a while."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic

from shared.errors import RetryableError
from shared.history.clock import Clock
from shared.history.machine import DispatchDue, S
from shared.history.owner_memory import Memory
from shared.history.owner_parts import Dispatched, Dispatcher, Rank
from shared.history.subject_failures import OwnTrouble
from shared.history.waiting_chunks import WaitingChunks

_AGAIN_SECONDS = 1.0
"""Shortest wait before a chunk that its engine did not take is sent again."""

_LONGEST_REST_SECONDS = 16.0
"""Longest pause of a lane whose engine refuses: asking it may block the partition for the engine's own time limit."""

_LAST = Rank(2**31, 0)


@dataclass(slots=True)
class _Rest:
    until: float
    seconds: float


class Sender(Generic[S]):
    """Sends the chunks of one partition. What cannot be sent stays due, and nothing else waits for it."""

    def __init__(self, dispatcher: Dispatcher[S], trouble: OwnTrouble, *, partition: int, clock: Clock) -> None:
        self._dispatcher = dispatcher
        self._trouble = trouble
        self._partition = partition
        self._clock = clock
        self._rests: dict[str, _Rest] = {}

    def await_room(self, memory: Memory[S], subject: str, due: Iterable[DispatchDue]) -> None:
        """These chunks of a subject are due now: those that are not in the window wait for room in it."""
        chunks = WaitingChunks(entry for entry in due if str(entry.chunk) not in memory.window)
        if (first := chunks.first()) is not None:
            rank = self.rank(subject, memory.states[subject])
            if _may_go_ahead(memory, rank, first.lane):
                rank = replace(rank, priority=rank.priority - 1)
            memory.waiting.put(subject, rank, first.lane, chunks)
        else:
            memory.waiting.leave(subject)

    async def fill(self, memory: Memory[S]) -> None:
        """Fill the window of each lane, by rank; subjects that were refused before come last.

        Otherwise a subject with many chunks that is refused again and again would take the turns of all others. What
        may not be sent yet leaves the waiting room: the next sweep finds that it is due, and no step before has to.
        """
        now = self._clock.monotonic()
        chunks: list[tuple[S, DispatchDue]] = []
        for lane in memory.waiting.lanes():
            if not self._rests_now(lane, now):
                chunks += self._next_of(memory, lane, now)
        await self._send(memory, chunks)

    def _next_of(self, memory: Memory[S], lane: str, now: float) -> list[tuple[S, DispatchDue]]:
        chunks: list[tuple[S, DispatchDue]] = []
        gone_ahead: set[str] = set()
        while (priority := memory.waiting.priority(lane)) is not None:
            # Those that come before it in the room, its engine runs before it, too.
            if memory.window.room(lane, priority) <= len(chunks):
                break
            due = memory.waiting.take(lane)
            state = None if due is None else memory.states.get(due.chunk.job_id)
            if due is None or state is None:
                continue
            rank = self.rank(due.chunk.job_id, state)
            is_ahead = priority < rank.priority
            if is_ahead and (rank.tenant in gone_ahead or not _may_go_ahead(memory, rank, lane)):
                # Another chunk of its tenant has gone since it was put in.
                memory.waiting.give_back(due)
                memory.waiting.move(due.chunk.job_id, rank=rank)
                continue
            if is_ahead:
                gone_ahead.add(rank.tenant)
            if _may_send(memory, due, now):
                chunks.append((state, replace(due, is_ahead=is_ahead)))
        return chunks

    async def again(self, memory: Memory[S], chunks: Sequence[tuple[S, DispatchDue]]) -> None:
        """Send chunks again that have waited too long for a claim; they are in the window already."""
        now = self._clock.monotonic()
        await self._send(
            memory,
            [
                (state, due)
                for state, due in chunks
                if not self._rests_now(due.lane, now) and _may_send(memory, due, now)
            ],
        )

    def rank(self, subject: str, state: S) -> Rank:
        """The place of a subject among those that wait."""
        try:
            return self._dispatcher.rank(state)
        except Exception as error:  # noqa: BLE001 - logged; the others are ranked
            self._trouble.tell(subject, "rank", error)
            return _LAST

    def _rests_now(self, lane: str, now: float) -> bool:
        rest = self._rests.get(lane)
        return rest is not None and now < rest.until

    async def _send(self, memory: Memory[S], chunks: Sequence[tuple[S, DispatchDue]]) -> None:
        if not chunks:
            return
        outcome = await self._dispatched(chunks)
        now = self._clock.monotonic()
        for state, due in chunks:
            text = str(due.chunk)
            if text in outcome.taken:
                rank = self.rank(due.chunk.job_id, state)
                memory.window.sent(text, now, due.lane, rank.priority - due.is_ahead, rank.tenant)
                self._rests.pop(due.lane, None)
                memory.waiting.move(due.chunk.job_id, is_last=False)
            elif due.lane not in outcome.closed:
                memory.agenda.postpone(_what(due), now + _AGAIN_SECONDS)
                memory.waiting.move(due.chunk.job_id, is_last=True)
            if text in outcome.refused:
                self._trouble.tell(due.chunk.job_id, "dispatch", outcome.refused[text])
        for _, due in reversed(chunks):  # each comes before the rest of its subject again
            if due.lane in outcome.closed and str(due.chunk) not in memory.window:
                memory.waiting.give_back(due)
        for lane, error in outcome.closed.items():
            self._trouble.tell(lane, "dispatch", error)
            before = self._rests.get(lane)
            seconds = _AGAIN_SECONDS if before is None else min(2 * before.seconds, _LONGEST_REST_SECONDS)
            self._rests[lane] = _Rest(now + seconds, seconds)

    async def _dispatched(self, chunks: Sequence[tuple[S, DispatchDue]]) -> Dispatched:
        try:
            outcome = await self._dispatcher.dispatch(self._partition, chunks)
        except (RetryableError, OSError) as error:
            lanes = frozenset(due.lane for _, due in chunks)
            return Dispatched(frozenset(), closed=dict.fromkeys(lanes, error))
        except Exception as error:  # noqa: BLE001 - logged; one chunk that trips the dispatcher must not stop all others
            if len(chunks) == 1:
                return Dispatched(frozenset(), refused={str(chunks[0][1].chunk): error})
        else:
            return outcome or Dispatched(frozenset(str(due.chunk) for _, due in chunks))
        return await self._one_by_one(chunks)

    async def _one_by_one(self, chunks: Sequence[tuple[S, DispatchDue]]) -> Dispatched:
        taken: set[str] = set()
        refused: dict[str, Exception] = {}
        closed: dict[str, Exception] = {}
        for state, due in chunks:
            if due.lane not in closed:  # an engine may take long to refuse: ask it once
                outcome = await self._dispatched([(state, due)])
                taken |= outcome.taken
                refused |= outcome.refused
                closed |= outcome.closed
        return Dispatched(frozenset(taken), refused, closed)


def _may_go_ahead(memory: Memory[S], rank: Rank, lane: str) -> bool:
    """Whether a chunk goes before others of its priority: its tenant has none with the engine."""
    return rank.priority > 0 and rank.tenant != "" and not memory.window.group.taken_by(rank.tenant, lane)


def _what(due: DispatchDue) -> str:
    return f"chunk {due.chunk}"


def _may_send(memory: Memory[S], due: DispatchDue, now: float) -> bool:
    return memory.agenda.may_ask(_what(due), memory.position, now)
