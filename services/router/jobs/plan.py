"""Plans: the chunks of a job's missing items."""

from __future__ import annotations

from collections.abc import Collection

from services.router.jobs.state import Chunk, JobState
from shared.facts.jobs import JobReplanned, PlannedChunk
from shared.history.item_bitmap import all_items_in, missing_items


def first_plan(items_total: int, chunk_items: int, epoch: int, bitmap: bytes) -> tuple[Chunk, ...]:
    """Equal ranges over all items, without items that have a result."""
    ranges = (
        PlannedChunk(first=first, last=min(first + chunk_items, items_total) - 1, deaths=0)
        for first in range(0, items_total, chunk_items)
    )
    return tuple(chunk for planned in ranges if (chunk := shrunk(planned, epoch, bitmap)) is not None)


def without_finished(plan: tuple[Chunk, ...], bitmap: bytes, new: Collection[int]) -> tuple[Chunk, ...]:
    """The plan without the chunks that the results of items `new` have finished."""
    lowest, highest = min(new), max(new)
    return tuple(
        chunk
        for chunk in plan
        if chunk.last < lowest or chunk.first > highest or not all_items_in(bitmap, chunk.first, chunk.last)
    )


def replaced_plan(state: JobState, fact: JobReplanned) -> tuple[Chunk, ...]:
    """The plan with dead chunks replaced, in the order of their items.

    A chunk is replaced only if the fact's ranges hold all of its missing items; other chunks stay as they are.
    """
    replaced = set(fact.replaced)
    plan: list[Chunk] = []
    for chunk in state.plan:
        if str(state.chunk_id(chunk)) not in replaced:
            plan.append(chunk)
            continue
        parts = [planned for planned in fact.chunks if chunk.first <= planned.first and planned.last <= chunk.last]
        covered = {item for planned in parts for item in range(planned.first, planned.last + 1)}
        if covered.issuperset(missing_items(state.bitmap, chunk.first, chunk.last)):
            left = (shrunk(planned, fact.epoch, state.bitmap) for planned in parts)
            plan.extend(part for part in left if part is not None)
        else:
            plan.append(chunk)
    return tuple(plan)


def shrunk(planned: PlannedChunk, epoch: int, bitmap: bytes) -> Chunk | None:
    """The missing items of a planned range. One that is alone only now has no deaths, as in `retries.successors`."""
    missing = missing_items(bitmap, planned.first, planned.last)
    if not missing:
        return None
    alone_now = missing[0] == missing[-1] and planned.first != planned.last
    return Chunk(epoch, missing[0], missing[-1], 0 if alone_now else planned.deaths)
