"""What waits with one priority: tenants take turns by weight, a tenant's subjects come in order."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Generic

from shared.history.owner_parts import Rank
from shared.history.waiting_chunks import ChunkT, WaitingChunks

_SPARE_SUBJECTS = 1000
"""A tenant's heap may hold so many subjects beyond twice those that waited when it was last cleared of the others."""


@dataclass(slots=True, eq=False)
class WaitingSubject(Generic[ChunkT]):
    """A subject whose chunks wait for room in a window; `is_filed` while its queue holds it."""

    rank: Rank
    lane: str
    chunks: WaitingChunks[ChunkT]
    is_last: bool = False
    """It was refused before, and comes after all others."""
    is_filed: bool = False


class FairQueue(Generic[ChunkT]):
    """Stride scheduling: each tenant has a virtual time, which a chunk moves on by the inverse of its weight.

    The tenant with the least time is served next; of equals the one that was served longer ago. One that comes, or
    comes back, starts as if it had been served just now: it has no claim on what it did not ask for, and however many
    come, who waits already is not passed over. A tenant that has nothing waiting is forgotten once the others have
    caught up with it.

    A chunk costs time logarithmic in what waits; a subject that has left is passed over once.
    """

    def __init__(self) -> None:
        self._lines: dict[str, list[tuple[int, int, WaitingSubject[ChunkT]]]] = {}
        """Heaps by order of acceptance."""
        self._most: dict[str, int] = {}
        """How long each heap may be before subjects that have left are dropped from it."""
        self._most_lines = _SPARE_SUBJECTS
        """How many tenants there may be before those are forgotten all of whose subjects have left."""
        self._turns: list[tuple[float, int, str]] = []
        """A heap with one entry for each tenant in `_lines`."""
        self._time = 0.0
        self._numbers = count()

    def __len__(self) -> int:
        """How many tenants it knows."""
        return len(self._lines)

    def add(self, subject: WaitingSubject[ChunkT]) -> None:
        """File a subject, if it is not."""
        if subject.is_filed:
            return
        subject.is_filed = True
        tenant = subject.rank.tenant
        line = self._lines.get(tenant)
        if line is None:
            if len(self._lines) > self._most_lines:
                self._forget_the_left()
            line = self._lines[tenant] = []
            self._most[tenant] = _SPARE_SUBJECTS
            heappush(self._turns, (self._time + 1 / subject.rank.weight, next(self._numbers), tenant))
        heappush(line, (subject.rank.order, next(self._numbers), subject))
        if len(line) > self._most[tenant]:
            # Behind a subject that cannot be sent for long, jobs may come and go.
            _clear_of_the_left(line)
            self._most[tenant] = 2 * len(line) + _SPARE_SUBJECTS

    def _forget_the_left(self) -> None:
        for line in self._lines.values():
            _clear_of_the_left(line)
        self._lines = {tenant: line for tenant, line in self._lines.items() if line}
        self._most = {tenant: self._most[tenant] for tenant in self._lines}
        self._turns = [turn for turn in self._turns if turn[2] in self._lines]
        heapify(self._turns)
        self._most_lines = 2 * len(self._lines) + _SPARE_SUBJECTS

    def waiting(self) -> dict[str, int]:
        """How many subjects of each tenant wait; among them may be some that have left and were not passed over yet."""
        return {tenant: len(line) for tenant, line in self._lines.items() if _first_of(line) is not None}

    def take(self) -> ChunkT | None:
        """The next chunk, which leaves the queue; None if nothing waits."""
        subject = self.first()
        if subject is None:
            return None
        self._time, _, tenant = self._turns[0]
        heapreplace(self._turns, (self._time + 1 / subject.rank.weight, next(self._numbers), tenant))
        return subject.chunks.take()

    def first(self) -> WaitingSubject[ChunkT] | None:
        """Whose chunk comes next; None if nothing waits."""
        while self._turns:
            tenant = self._turns[0][2]
            subject = _first_of(self._lines[tenant])
            if subject is not None:
                return subject
            heappop(self._turns)
            del self._lines[tenant], self._most[tenant]
        return None


def _first_of(line: list[tuple[int, int, WaitingSubject[ChunkT]]]) -> WaitingSubject[ChunkT] | None:
    while line:
        subject = line[0][2]
        if subject.chunks.first() is not None:
            return subject
        heappop(line)
        subject.is_filed = False
    return None


def _clear_of_the_left(line: list[tuple[int, int, WaitingSubject[ChunkT]]]) -> None:
    for _, _, subject in line:
        subject.is_filed = subject.chunks.first() is not None
    line[:] = [entry for entry in line if entry[2].is_filed]
    heapify(line)
