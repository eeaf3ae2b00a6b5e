"""Subjects that wait for a decision of their owner: the most urgent comes first, tenants take turns."""

from __future__ import annotations

from shared.history.fair_queue import WaitingSubject
from shared.history.owner_parts import Rank
from shared.history.ranked_queue import RankedQueue
from shared.history.waiting_chunks import WaitingChunks


class Undecided:
    """Of one partition. A subject may have left by the time when it is taken: whether its decision is due, ask then."""

    def __init__(self) -> None:
        self._subjects: set[str] = set()
        self._queue: RankedQueue[str] = RankedQueue()

    def __bool__(self) -> bool:
        """Whether a subject waits."""
        return bool(self._subjects)

    def add(self, subject: str, rank: Rank) -> None:
        """A decision is due for the subject; nothing changes if it waits already."""
        if subject not in self._subjects:
            self._subjects.add(subject)
            self._queue.add(WaitingSubject(rank, "", WaitingChunks([subject])))

    def take(self) -> str | None:
        """The next subject, which waits no longer; None if none waits."""
        queue = self._queue.first()
        subject = None if queue is None else queue.take()
        if subject is not None:
            self._subjects.discard(subject)
        return subject

    def clear(self) -> None:
        """Nothing waits any more."""
        self._subjects.clear()
        self._queue = RankedQueue()
