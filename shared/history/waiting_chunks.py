"""The chunks of one subject that wait for room in a window: made one by one, as they are taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

ChunkT = TypeVar("ChunkT")
"""What waits: a chunk to be dispatched, a subject to be decided on, or a record to be handled."""


class WaitingChunks(Generic[ChunkT]):
    """Chunks in their order. Whoever waits with 100,000 of them costs what the ones cost that are taken."""

    def __init__(self, chunks: Iterable[ChunkT] = ()) -> None:
        self._ahead: list[ChunkT] = []
        """Made or given back: the last is the first to be taken."""
        self._rest = iter(chunks)

    def first(self) -> ChunkT | None:
        """The next one, which goes on waiting; None if none waits."""
        if not self._ahead and (chunk := next(self._rest, None)) is not None:
            self._ahead.append(chunk)
        return self._ahead[-1] if self._ahead else None

    def take(self) -> ChunkT | None:
        """The next one, which waits no longer; None if none waits."""
        return None if self.first() is None else self._ahead.pop()

    def give_back(self, chunk: ChunkT) -> None:
        """One that was taken comes before the others again."""
        self._ahead.append(chunk)
