"""Where a job runs and in how large chunks: pure functions of the job and of what is known of the engines."""

from __future__ import annotations

import math
from dataclasses import dataclass

from eldermesh.contract.vocabulary import Engine, EngineChoice

_CHUNKS_A_SLOT = 4
"""Enough that uneven chunks level out over the slots, few enough that a chunk's own cost does not count."""

_MAX_CHUNK_ITEMS = 500
"""So that cancelling, dying and running again never concern more than this."""


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What a policy may know of a job. `forced_chunk_items` is an operator's setting, and wins.

    `dear_items`: each item takes seconds or money, so that none shall wait behind another, or be lost with one.
    """

    workload: str
    items_total: int
    engine: EngineChoice
    slots: int
    forced_chunk_items: int | None = None
    dear_items: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A policy's choice, with its reasons."""

    engine: Engine
    chunk_items: int
    policy: str
    reasons: tuple[str, ...]


def static_policy(request: RouteRequest) -> Route:
    """Everything runs on Celery: dear items one by one, others in about four chunks a slot."""
    if request.forced_chunk_items is not None:
        chunk_items = request.forced_chunk_items
        size_reason = f"chunks of {chunk_items} by setting"
    elif request.dear_items:
        chunk_items = 1
        size_reason = f"items of {request.workload} are dear: one a chunk"
    else:
        even = math.ceil(request.items_total / (_CHUNKS_A_SLOT * request.slots))
        chunk_items = min(max(1, even), _MAX_CHUNK_ITEMS)
        size_reason = f"{request.items_total} items over {request.slots} slots: chunks of {chunk_items}"
    engine_reason = "celery was asked for" if request.engine == "celery" else "celery is the only engine so far"
    return Route("celery", chunk_items, "static", (engine_reason, size_reason))
