"""How long a job takes on an engine, by its items, its chunks and what the engine has to do already. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

MOST_CHUNK_SECONDS: Final = 1.0
"""A chunk keeps its slot for so long: what is more urgent waits for that, and a death runs that again."""

MOST_CHUNK_ITEMS: Final = 2_500
"""However short items have been: one may take much longer, and a death runs a chunk again, halves of it, and so on."""

_CHUNKS_A_SLOT: Final = (1, 2, 3, 4, 6, 8, 12, 16, 32)

_USUAL_SPREAD: Final = 0.3
"""Of items, while nothing is known of it."""


@dataclass(frozen=True, slots=True)
class EngineNow:
    """An engine as the router sees it now.

    Attributes:
        slots: chunks that run at once.
        job_seconds: from a job's routing to its first item and from its last result to its end, whatever it has to do.
        chunk_seconds: what a chunk costs its slot beside its items.
        backlog_seconds: until a slot is free for a new job of this priority.
        start_seconds: until it takes chunks at all; 0 if it runs.
    """

    slots: int
    job_seconds: float
    chunk_seconds: float
    backlog_seconds: float = 0.0
    start_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """Equal chunks of `chunk_items`, and the seconds until all have ended."""

    chunk_items: int
    seconds: float


def predicted(items: int, chunk_items: int, item_seconds: float, spread: float | None, engine: EngineNow) -> float:
    """Seconds until all items have ended.

    Each slot runs its share of the chunks one after another. Where items are uneven, the slot that ends last is later
    by the expected largest of as many normal deviations as there are slots.
    """
    chunks = math.ceil(items / chunk_items)
    at_once = min(engine.slots, chunks)
    in_a_row = math.ceil(chunks / engine.slots)
    items_in_a_row = min(in_a_row * chunk_items, items)
    uneven = (_USUAL_SPREAD if spread is None else spread) * item_seconds * math.sqrt(min(chunk_items, items))
    tail = uneven * math.sqrt(2.0 * math.log(at_once)) if at_once > 1 else 0.0
    start = engine.job_seconds + max(engine.start_seconds, engine.backlog_seconds)
    return start + in_a_row * engine.chunk_seconds + items_in_a_row * item_seconds + tail


def best_chunks(items: int, item_seconds: float, spread: float | None, engine: EngineNow) -> Prediction:
    """The chunk size with the least predicted time; of equal ones the largest."""
    most = min(MOST_CHUNK_ITEMS, max(1, math.floor(MOST_CHUNK_SECONDS / item_seconds)))
    sizes = sorted(
        {min(most, math.ceil(items / (engine.slots * per_slot))) for per_slot in _CHUNKS_A_SLOT}, reverse=True
    )
    return min(
        (Prediction(size, predicted(items, size, item_seconds, spread, engine)) for size in sizes),
        key=lambda prediction: prediction.seconds,
    )
