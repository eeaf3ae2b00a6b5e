"""Chooses the engine and the chunk size of a job. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pydantic import JsonValue

from eldermesh.contract.vocabulary import Engine, EngineChoice
from eldermesh.counted import counted
from shared.route_rules import RouteRule

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
        rule: of an operator, for the workload.
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
    rule: RouteRule = field(default_factory=RouteRule)


@dataclass(frozen=True, slots=True)
class Route:
    """The choice of a policy, with its reasons."""

    engine: Engine
    chunk_items: int
    policy: str
    reasons: tuple[str, ...]
    alternatives: tuple[dict[str, JsonValue], ...] = ()
    """What the policy has looked at, the chosen one first, with all that the choice was made from."""
    seed: int | None = None


def static_policy(request: RouteRequest) -> Route:
    """The engine by size, and about four chunks a slot, or one for each of `single_items`."""
    engine, engine_reason = static_engine(request)
    chunk_items, size_reason = static_chunks(request, engine)
    return Route(engine, chunk_items, "static", (engine_reason, size_reason))


def static_engine(request: RouteRequest) -> tuple[Engine, str]:
    """Ray from `ray_threshold_items` on, else Celery, where nobody names one; and why."""
    asked = asked_for(request)
    if asked is not None:
        return asked
    is_large = request.items_total >= request.ray_threshold_items
    items = counted(request.items_total, "item")
    size = f"{items}, {'at least' if is_large else 'fewer than'} {request.ray_threshold_items}"
    if not is_large:
        return "celery", size
    against = against_ray(request)
    return ("celery", f"{size}, but {against}") if against is not None else ("ray", size)


def asked_for(request: RouteRequest) -> tuple[Engine, str] | None:
    """The engine of a job for which an operator or its submit names one, and why; None if the policy may choose.

    Jobs for which Ray is named wait while it is in trouble; if it cannot run them, Celery does.
    """
    ruled = request.rule.engine
    engine = ruled or request.engine
    why = f"{engine} was asked for" if ruled is None else f"{request.workload} jobs run on {engine} (MESH_ROUTES)"
    match engine:
        case "ray" if request.ray_missing is not None:
            return "celery", f"{why}, but {request.ray_missing}"
        case "auto":
            return None
        case _:
            return engine, why


def against_ray(request: RouteRequest) -> str | None:
    """Why a policy that may choose should not choose Ray."""
    return request.ray_missing or request.ray_trouble


def given_chunks(request: RouteRequest) -> tuple[int, str] | None:
    """Items of a chunk where no policy chooses, and why."""
    if (forced := request.rule.chunk_items or request.forced_chunk_items) is not None:
        return forced, f"chunks of {forced} by setting"
    if request.single_items:
        return 1, f"each item of {request.workload} takes long or costs money, so each has a chunk of its own"
    return None


def static_chunks(request: RouteRequest, engine: Engine) -> tuple[int, str]:
    """Items of a chunk, and why, without a look at what items take."""
    given = given_chunks(request)
    if given is not None:
        return given
    slots = request.ray_slots if engine == "ray" else request.slots
    even = math.ceil(request.items_total / (_CHUNKS_A_SLOT * slots))
    chunk_items = min(max(1, even), _MAX_CHUNK_ITEMS)
    return chunk_items, f"{counted(request.items_total, 'item')} over {counted(slots, 'slot')}: chunks of {chunk_items}"
