"""Where a job runs and in how large chunks: pure functions of the job and of what is known of the engines."""

from __future__ import annotations

import math
from dataclasses import dataclass

from eldermesh.contract.vocabulary import Engine, EngineChoice
from eldermesh.counted import counted

_CHUNKS_A_SLOT = 4
"""Enough that uneven chunks level out over the slots, few enough that a chunk's own cost does not count."""

_MAX_CHUNK_ITEMS = 500
"""So that cancelling, dying and running again never concern more than this."""


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What a policy may know of a job. `forced_chunk_items` is an operator's setting, and wins.

    `dear_items`: each item takes seconds or money, so that none shall wait behind another, or be lost with one.
    `slots` and `ray_slots` are what runs at once on Celery and on Ray. `ray_missing`: why there is no Ray;
    `ray_trouble`: why jobs that may run elsewhere had better not go there.
    """

    workload: str
    items_total: int
    engine: EngineChoice
    slots: int
    forced_chunk_items: int | None = None
    dear_items: bool = False
    ray_slots: int = 1
    ray_threshold_items: int = 100
    ray_missing: str | None = None
    ray_trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A policy's choice, with its reasons."""

    engine: Engine
    chunk_items: int
    policy: str
    reasons: tuple[str, ...]


def static_policy(request: RouteRequest) -> Route:
    """From `ray_threshold_items` on Ray, below on Celery; dear items one by one, others in about four chunks a slot."""
    engine, engine_reason = _engine(request)
    slots = request.ray_slots if engine == "ray" else request.slots
    if request.forced_chunk_items is not None:
        chunk_items = request.forced_chunk_items
        size_reason = f"chunks of {chunk_items} by setting"
    elif request.dear_items:
        chunk_items = 1
        size_reason = f"items of {request.workload} are dear: one a chunk"
    else:
        even = math.ceil(request.items_total / (_CHUNKS_A_SLOT * slots))
        chunk_items = min(max(1, even), _MAX_CHUNK_ITEMS)
        size_reason = f"{counted(request.items_total, 'item')} over {counted(slots, 'slot')}: chunks of {chunk_items}"
    return Route(engine, chunk_items, "static", (engine_reason, size_reason))


def _engine(request: RouteRequest) -> tuple[Engine, str]:
    """The engine, and why. Who asks for Ray waits for it when it is away, but not when there is none."""
    if request.engine == "celery":
        return "celery", "celery was asked for"
    is_large = request.items_total >= request.ray_threshold_items
    items = counted(request.items_total, "item")
    size = f"{items}, {'at least' if is_large else 'fewer than'} {request.ray_threshold_items}"
    if request.engine == "ray":
        if request.ray_missing is not None:
            return "celery", f"ray was asked for, but {request.ray_missing}"
        return "ray", "ray was asked for"
    if not is_large:
        return "celery", size
    against = request.ray_missing or request.ray_trouble
    return ("celery", f"{size}, but {against}") if against is not None else ("ray", size)
