"""Plans: the chunks of a job's missing items."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from services.router.jobs.state import Chunk, JobState
from shared.facts.jobs import JobReplanned, PlannedChunk
from shared.history.chunk_id import ChunkId
from shared.history.item_bitmap import all_items_in, missing_items


def first_plan(items_total: int, chunk_items: int, epoch: int, bitmap: bytes) -> tuple[Chunk, ...]:
    """Equal ranges over all items, without items that have a result."""
    ranges = (
        PlannedChunk(first=first, last=min(first + chunk_items, items_total) - 1, deaths=0)
        for first in range(0, items_total, chunk_items)
    )
    return tuple(chunk for planned in ranges if (chunk := _shrunk(planned, epoch, bitmap)) is not None)


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
            shrunk = (_shrunk(planned, fact.epoch, state.bitmap) for planned in parts)
            plan.extend(part for part in shrunk if part is not None)
        else:
            plan.append(chunk)
    return tuple(plan)


def put_back(state: JobState, chunk_id: str) -> JobState | None:
    """The state with the missing items of a current chunk in a chunk of the next epoch; None if it is not current.

    The next epoch makes it another chunk: the claim of the old one is removed, and its runs no longer count.
    """
    for place, chunk in enumerate(state.plan):
        if str(state.chunk_id(chunk)) == chunk_id:
            again = PlannedChunk(first=chunk.first, last=chunk.last, deaths=chunk.deaths)
            part = _shrunk(again, state.epoch + 1, state.bitmap)
            plan = (*state.plan[:place], *(() if part is None else (part,)), *state.plan[place + 1 :])
            return replace(state, epoch=state.epoch + 1, plan=plan)
    return None


def _shrunk(planned: PlannedChunk, epoch: int, bitmap: bytes) -> Chunk | None:
    """The missing items of a planned range. An item that is alone only now has no deaths, as in `successors`."""
    missing = missing_items(bitmap, planned.first, planned.last)
    if not missing:
        return None
    alone_now = missing[0] == missing[-1] and planned.first != planned.last
    return Chunk(epoch, missing[0], missing[-1], 0 if alone_now else planned.deaths)


def successors(state: JobState, dead: Sequence[ChunkId], *, bisect_after: int) -> list[PlannedChunk]:
    """The chunks that replace dead ones: their missing items, bisected after `bisect_after` deaths.

    An item that is alone in its chunk for the first time has no deaths: its neighbours may have been the cause.
    """
    by_id = {str(state.chunk_id(chunk)): chunk for chunk in state.plan}
    planned: list[PlannedChunk] = []
    for chunk_id in dead:
        chunk = by_id.get(str(chunk_id))
        missing = missing_items(state.bitmap, chunk.first, chunk.last) if chunk is not None else ()
        if chunk is None or not missing:
            continue
        deaths = chunk.deaths + 1
        middle = len(missing) // 2 if deaths >= bisect_after else 0
        for part in (missing[:middle], missing[middle:]):
            if part:
                alone_now = part[0] == part[-1] and chunk.first != chunk.last
                planned.append(PlannedChunk(first=part[0], last=part[-1], deaths=0 if alone_now else deaths))
    return planned
