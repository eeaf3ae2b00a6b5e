"""Items that run again: of chunks that died or were given back, in chunks of a later epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.router.jobs.plan import shrunk
from services.router.jobs.state import JobState
from shared.facts.jobs import PlannedChunk
from shared.history.chunk_id import ChunkId
from shared.history.item_bitmap import missing_items


def put_back(state: JobState, chunk_id: str) -> JobState | None:
    """The state with the missing items of a current chunk in a chunk of the next epoch; None if it is not current.

    The next epoch makes it another chunk: the claim of the old one is removed, and its runs no longer count.
    """
    for place, chunk in enumerate(state.plan):
        if str(state.chunk_id(chunk)) == chunk_id:
            again = PlannedChunk(first=chunk.first, last=chunk.last, deaths=chunk.deaths)
            part = shrunk(again, state.epoch + 1, state.bitmap)
            plan = (*state.plan[:place], *(() if part is None else (part,)), *state.plan[place + 1 :])
            return replace(state, epoch=state.epoch + 1, plan=plan)
    return None


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
