"""Items that run again: of chunks that died or were given back, in chunks of a later epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.router.jobs.chunk_series import Chunk
from services.router.jobs.plan import Plan, shrunk, with_parts
from services.router.jobs.state import JobState
from shared.facts.jobs import JobReplanned, PlannedChunk
from shared.history.chunk_id import ChunkId
from shared.history.item_bitmap import missing_items


def put_back(state: JobState, identity: str) -> JobState | None:
    """The state with the missing items of a current chunk in a chunk of the next epoch; None if it is not current.

    The next epoch makes it another chunk: the claim of the old one is removed, and its runs no longer count.
    """
    chunk = state.current(identity)
    if chunk is None:
        return None
    again = shrunk(replace(chunk, epoch=state.epoch + 1), state.bitmap)
    plan = with_parts(state.plan, state.bitmap, chunk, [] if again is None else [again])
    return replace(state, epoch=state.epoch + 1, plan=plan)


def replaced_plan(state: JobState, fact: JobReplanned) -> Plan:
    """The plan with dead chunks replaced.

    A chunk is replaced only if the fact's ranges hold all of its missing items; other chunks stay as they are.
    """
    plan = state.plan
    for identity in dict.fromkeys(fact.replaced):
        chunk = state.current(identity)
        if chunk is None:
            continue
        planned = [part for part in fact.chunks if chunk.first <= part.first and part.last <= chunk.last]
        covered = {item for part in planned for item in range(part.first, part.last + 1)}
        if covered.issuperset(missing_items(state.bitmap, chunk.first, chunk.last)):
            parts = (Chunk(fact.epoch, part.first, part.last, part.deaths) for part in planned)
            left = (shrunk(part, state.bitmap) for part in parts)
            plan = with_parts(plan, state.bitmap, chunk, [part for part in left if part is not None])
    return plan


def successors(state: JobState, dead: Sequence[ChunkId], *, bisect_after: int) -> list[PlannedChunk]:
    """The chunks that replace dead ones: their missing items, bisected after `bisect_after` deaths.

    An item that is alone in its chunk for the first time has no deaths: its neighbours may have been the cause.
    """
    planned: list[PlannedChunk] = []
    for chunk_id in dead:
        chunk = state.current(str(chunk_id))
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
