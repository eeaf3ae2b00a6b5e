"""Which chunks a fact has put into a job's plan, and which it has taken out, without a look at all the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.router.jobs.chunk_series import Chunk, ChunkSeries, is_finished
from services.router.jobs.plan import Plan, current_chunk
from shared.history.item_bitmap import added_items


def chunks_gone(before: Plan, bitmap_before: bytes, after: Plan, bitmap_after: bytes) -> set[Chunk]:
    """The chunks that were current before and no longer are."""
    old, new = _without_shared_ends(before, after)
    gone = {chunk for series in _apart(old, new) for chunk in series.chunks(bitmap_before)}
    if after and bitmap_before != bitmap_after:
        gone.update(_finished(before, bitmap_before, bitmap_after))
    return gone


def _finished(plan: Plan, bitmap_before: bytes, bitmap_after: bytes) -> Iterator[Chunk]:
    """The chunks of a plan that have finished between the two bitmaps."""
    looked_to = -1
    for item in added_items(bitmap_before, bitmap_after):
        if item <= looked_to:  # of a chunk that another item has led to
            continue
        chunk = current_chunk(plan, bitmap_before, item)
        if chunk is not None:
            looked_to = chunk.last
            if is_finished(chunk, bitmap_after):
                yield chunk


def series_come(before: Plan, after: Plan) -> list[ChunkSeries]:
    """The chunks that are in the plan now and were not before. Some may have finished."""
    old, new = _without_shared_ends(before, after)
    return list(_apart(new, old))


def _apart(some: Sequence[ChunkSeries], others: Sequence[ChunkSeries]) -> Iterator[ChunkSeries]:
    for series in some:
        yield from series.apart_from(others)


def _without_shared_ends(one: Plan, other: Plan) -> tuple[Plan, Plan]:
    """Both without the series that they begin and end with alike."""
    if one is other:
        return (), ()
    shorter = min(len(one), len(other))
    begin = 0
    while begin < shorter and one[begin] == other[begin]:
        begin += 1
    end = 0
    while end < shorter - begin and one[-1 - end] == other[-1 - end]:
        end += 1
    return one[begin : len(one) - end], other[begin : len(other) - end]
