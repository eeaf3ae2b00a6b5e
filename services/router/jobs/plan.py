"""Plans: the chunks of a job's missing items, as series in the order of their items."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from services.router.jobs.chunk_series import Chunk, ChunkSeries, is_finished, one_chunk
from shared.history.item_bitmap import all_items_in, has_item, next_missing_item

Plan = tuple[ChunkSeries, ...]
"""Chunks that have finished stay in their series: the bitmap says that they are in the plan no more."""

_FIRST: Callable[[ChunkSeries], int] = attrgetter("first")


def first_plan(items_total: int, chunk_items: int, epoch: int, bitmap: bytes) -> Plan:
    """Equal ranges over all items, without items that have a result."""
    if not any(bitmap):
        return (ChunkSeries(epoch, 0, items_total - 1, chunk_items=chunk_items),)
    ranges = ((first, min(first + chunk_items, items_total) - 1) for first in range(0, items_total, chunk_items))
    chunks = (shrunk(Chunk(epoch, first, last), bitmap) for first, last in ranges)
    return tuple(one_chunk(chunk) for chunk in chunks if chunk is not None)


def current_chunks(plan: Plan, bitmap: bytes) -> Iterator[Chunk]:
    """The chunks that have not finished, in the order of their items."""
    for series in plan:
        yield from series.chunks(bitmap)


def current_chunk(plan: Plan, bitmap: bytes, item: int) -> Chunk | None:
    """The chunk that holds an item and has not finished."""
    place = bisect_right(plan, item, key=_FIRST) - 1
    if place < 0 or item > plan[place].last:
        return None
    chunk = plan[place].chunk_of(item)
    return None if is_finished(chunk, bitmap) else chunk


def with_parts(plan: Plan, bitmap: bytes, chunk: Chunk, parts: Sequence[Chunk]) -> Plan:
    """The plan with chunks in the place of one of its own, and without series of which all has finished."""
    place = bisect_right(plan, chunk.first, key=_FIRST) - 1
    before, after = plan[place].without(chunk)
    series = (*plan[:place], before, *map(one_chunk, parts), after, *plan[place + 1 :])
    return tuple(one for one in series if one is not None and not all_items_in(bitmap, one.first, one.last))


def shrunk(planned: Chunk, bitmap: bytes) -> Chunk | None:
    """The missing items of a planned range. One that is alone only now has no deaths, as in `retries.successors`."""
    first = next_missing_item(bitmap, planned.first, planned.last)
    if first is None:
        return None
    last = planned.last
    while has_item(bitmap, last):
        last -= 1
    alone_now = first == last and planned.first != planned.last
    return Chunk(planned.epoch, first, last, 0 if alone_now else planned.deaths)
