"""Equal chunks in a row: a plan is a few of these, however many chunks it has."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from shared.history.item_bitmap import all_items_in, next_missing_item


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of the plan: an inclusive range of items, and how often in a row its claim has died."""

    epoch: int
    first: int
    last: int
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class ChunkSeries:
    """Chunks of one epoch that follow one another: `chunk_items` items each, the last one perhaps fewer.

    Attributes:
        first, last: items, inclusive.
        deaths: of each of its chunks, in a row.
        chunk_items: None if it is all one chunk.
    """

    epoch: int
    first: int
    last: int
    deaths: int = 0
    chunk_items: int | None = None

    @property
    def size(self) -> int:
        """Items of a chunk."""
        return self.last - self.first + 1 if self.chunk_items is None else self.chunk_items

    def chunk_of(self, item: int) -> Chunk:
        """The chunk that holds an item of the series."""
        size = self.size
        first = item - (item - self.first) % size
        return Chunk(self.epoch, first, min(first + size - 1, self.last), self.deaths)

    def chunks(self, bitmap: bytes) -> Iterator[Chunk]:
        """Its chunks that have not finished, in order. It costs no time to pass over those that have."""
        size = self.size
        item = next_missing_item(bitmap, self.first, self.last)
        while item is not None:
            first = item - (item - self.first) % size
            last = min(first + size - 1, self.last)
            yield Chunk(self.epoch, first, last, self.deaths)
            item = next_missing_item(bitmap, last + 1, self.last)

    def without(self, chunk: Chunk) -> tuple[ChunkSeries | None, ChunkSeries | None]:
        """What comes before one of its chunks, and what comes after it."""
        before = replace(self, last=chunk.first - 1) if chunk.first > self.first else None
        after = replace(self, first=chunk.last + 1) if chunk.last < self.last else None
        return before, after

    def apart_from(self, others: Sequence[ChunkSeries]) -> Iterator[ChunkSeries]:
        """Its chunks that none of `others` has, which are in the order of their items and do not overlap."""
        first, size = self.first, self.size
        for place in range(max(0, bisect_right(others, first, key=_FIRST) - 1), len(others)):
            other = others[place]
            if other.first > self.last:
                break
            low, high = max(first, other.first), min(self.last, other.last)
            if low > high or (other.epoch, other.size) != (self.epoch, size) or (other.first - self.first) % size:
                continue
            if self.last != other.last:
                high -= (high - self.first + 1) % size
            if low <= high:
                if first < low:
                    yield replace(self, first=first, last=low - 1, chunk_items=size)
                first = high + 1
        if first <= self.last:
            yield replace(self, first=first, chunk_items=size)


_FIRST: Callable[[ChunkSeries], int] = attrgetter("first")


def one_chunk(chunk: Chunk) -> ChunkSeries:
    """The series of a single chunk."""
    return ChunkSeries(chunk.epoch, chunk.first, chunk.last, chunk.deaths)


def is_finished(chunk: Chunk, bitmap: bytes) -> bool:
    """Whether all of its items have a result."""
    return all_items_in(bitmap, chunk.first, chunk.last)
