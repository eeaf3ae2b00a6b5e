"""Chunks that wait for room in the window: by lane, by priority, fair among tenants."""

from __future__ import annotations

from collections.abc import Collection

from shared.history.fair_queue import FairQueue, WaitingSubject
from shared.history.machine import DispatchDue
from shared.history.owner_parts import Rank
from shared.history.waiting_chunks import WaitingChunks

_Level = tuple[bool, int]
"""Whether its subjects come last because they were refused; their priority."""


class WaitingRoom:
    """What waits in one partition. A step costs what it takes out and what has changed, not what waits."""

    def __init__(self) -> None:
        self._subjects: dict[str, WaitingSubject[DispatchDue]] = {}
        self._levels: dict[str, dict[_Level, FairQueue[DispatchDue]]] = {}
        """By lane."""

    def __contains__(self, subject: str) -> bool:
        """Whether a chunk of the subject waits."""
        return subject in self._subjects and self._subjects[subject].chunks.first() is not None

    def lanes(self) -> Collection[str]:
        """The lanes in which something may wait."""
        return list(self._levels)

    def put(self, subject: str, rank: Rank, lane: str, chunks: WaitingChunks[DispatchDue]) -> None:
        """These chunks of the subject wait now, all of one lane, and no others."""
        waiting = self._subjects.get(subject)
        if waiting is not None and (waiting.rank, waiting.lane) == (rank, lane):
            waiting.chunks = chunks
        else:
            was_last = waiting is not None and waiting.is_last
            self.leave(subject)
            waiting = self._subjects[subject] = WaitingSubject(rank, lane, chunks, was_last)
        self._file(waiting)

    def leave(self, subject: str) -> None:
        """Nothing of the subject waits any more."""
        waiting = self._subjects.pop(subject, None)
        if waiting is not None:
            waiting.chunks = WaitingChunks()  # its queue drops it when its turn comes

    def take(self, lane: str) -> DispatchDue | None:
        """The next chunk of a lane, which waits no longer; None if none waits.

        Until its subject is put in anew, nobody but the caller knows of this chunk.
        """
        queue = self._first(lane)
        return None if queue is None else queue.take()

    def priority(self, lane: str) -> int | None:
        """That of the next chunk of a lane; None if none waits."""
        queue = self._first(lane)
        subject = None if queue is None else queue.first()
        return None if subject is None else subject.rank.priority

    def give_back(self, chunk: DispatchDue) -> None:
        """A chunk that was taken waits again, before the others of its subject."""
        waiting = self._subjects.get(chunk.chunk.job_id)
        if waiting is not None:
            waiting.chunks.give_back(chunk)
            self._file(waiting)

    def move(self, subject: str, *, is_last: bool | None = None, rank: Rank | None = None) -> None:
        """The subject has another rank from now on, or comes after all others, or no longer does."""
        waiting = self._subjects.get(subject)
        if waiting is None:
            return
        place = (waiting.rank if rank is None else rank, waiting.is_last if is_last is None else is_last)
        if place != (waiting.rank, waiting.is_last):
            moved = WaitingSubject(place[0], waiting.lane, waiting.chunks, place[1])
            self.leave(subject)
            self._subjects[subject] = moved
            self._file(moved)

    def _first(self, lane: str) -> FairQueue[DispatchDue] | None:
        levels = self._levels.get(lane)
        while levels:
            level = min(levels)
            if levels[level].first() is not None:
                return levels[level]
            del levels[level]
        self._levels.pop(lane, None)
        return None

    def _file(self, waiting: WaitingSubject[DispatchDue]) -> None:
        if waiting.chunks.first() is not None:
            levels = self._levels.setdefault(waiting.lane, {})
            level = (waiting.is_last, waiting.rank.priority)
            if level not in levels:
                levels[level] = FairQueue()
            levels[level].add(waiting)
