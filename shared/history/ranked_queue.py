"""What waits, by priority: those of one priority share fairly."""

from __future__ import annotations

from typing import Generic

from shared.history.fair_queue import FairQueue, WaitingSubject
from shared.history.waiting_chunks import ChunkT


class RankedQueue(Generic[ChunkT]):
    """A `FairQueue` for each priority."""

    def __init__(self) -> None:
        self._levels: dict[int, FairQueue[ChunkT]] = {}

    def add(self, subject: WaitingSubject[ChunkT]) -> None:
        """File a subject."""
        self._levels.setdefault(subject.rank.priority, FairQueue()).add(subject)

    def first(self) -> FairQueue[ChunkT] | None:
        """The queue of the lowest priority with which something waits; None if nothing does."""
        while self._levels:
            priority = min(self._levels)
            if self._levels[priority].first() is not None:
                return self._levels[priority]
            del self._levels[priority]
        return None
