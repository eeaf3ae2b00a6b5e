"""Chooses the engine and the chunk size of a job. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from eldermesh.contract.vocabulary import Engine, EngineChoice
from eldermesh.counted import counted

_CHUNKS_A_SLOT = 4
"""Enough to even out slow and fast chunks, few enough that the overhead of a chunk does not matter."""

_MAX_CHUNK_ITEMS = 500
"""Limits what a cancellation stops and what a death runs again."""


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What a policy may know of a job and of the engines.

    Attributes:
        slots: chunks that run at once on Celery.
        forced_chunk_items: an operator's setting, which overrides the policy.
        single_items: each item takes seconds or costs money, so it gets a chunk of its own.
        ray_slots: chunks that run at once on Ray.
        ray_missing: why Ray cannot run the job, if it cannot.
        ray_trouble: why jobs that may run elsewhere should not go to Ray.
    """

    workload: str
    items_total: int
    engine: EngineChoice
    slots: int
    forced_chunk_items: int | None = None
    single_items: bool = False
    ray_slots: int = 1
    ray_threshold_items: int = 100
    ray_missing: str | None = None
    ray_trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The choice of a policy, with its reasons."""

    engine: Engine
    chunk_items: int
    policy: str
    reasons: tuple[str, ...]


def static_policy(request: RouteRequest) -> Route:
    """Ray from `ray_threshold_items` on, else Celery; about four chunks a slot, or one for each of `single_items`."""
    engine, engine_reason = _engine(request)
    slots = request.ray_slots if engine == "ray" else request.slots
    if request.forced_chunk_items is not None:
        chunk_items = request.forced_chunk_items
        size_reason = f"chunks of {chunk_items} by setting"
    elif request.single_items:
        chunk_items = 1
        size_reason = f"each item of {request.workload} takes long or costs money, so each has a chunk of its own"
    else:
        even = math.ceil(request.items_total / (_CHUNKS_A_SLOT * slots))
        chunk_items = min(max(1, even), _MAX_CHUNK_ITEMS)
        size_reason = f"{counted(request.items_total, 'item')} over {counted(slots, 'slot')}: chunks of {chunk_items}"
    return Route(engine, chunk_items, "static", (engine_reason, size_reason))


def _engine(request: RouteRequest) -> tuple[Engine, str]:
    """The engine, and why. Jobs that ask for Ray wait while it is in trouble; if it cannot run them, Celery does."""
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
