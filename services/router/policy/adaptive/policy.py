"""The policy `adaptive`: gathers what is known, chooses, and says why in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from pydantic import TypeAdapter

from eldermesh.contract.vocabulary import Engine
from eldermesh.counted import counted
from services.router.jobs.observation import kind_of
from services.router.policy.adaptive.backlog import Backlog
from services.router.policy.adaptive.choice import AdaptiveRequest, Alternative, Choice, choose
from services.router.policy.adaptive.evidence import Evidence, Known
from services.router.policy.adaptive.item_cost import ItemCost
from services.router.policy.adaptive.prediction import EngineNow
from services.router.policy.engine_choice import (
    Route,
    RouteRequest,
    against_ray,
    asked_for,
    given_chunks,
    static_chunks,
)
from shared.facts.jobs import JobTerms
from shared.priorities import PRIORITIES

_JOB_SECONDS: Final = 0.02
"""From a job's routing to the dispatch of its first chunk, and from its last result to its end. An estimate."""

_TASK_SECONDS: Final[Mapping[Engine, float]] = {"celery": 0.006, "ray": 0.004}
"""What a chunk costs its slot before its claim and after its last item. Estimates: nothing calibrates them yet."""

_USUAL_WAIT: Final = 0.004
"""From the claim of a chunk to its first item, until that was seen. An estimate."""

_UNITS: Final = (("s", 1.0), ("ms", 1e3), ("µs", 1e6))

_ALTERNATIVE: Final = TypeAdapter(Alternative)


class AdaptivePolicy:
    """Chooses engine and chunks by the time predicted.

    Args:
        evidence: what items took.
        backlog: what engines have to do.
        ray_start_seconds: until Ray takes chunks of a workload; 0 if its runners run.
    """

    def __init__(self, evidence: Evidence, backlog: Backlog, ray_start_seconds: Callable[[str], float]) -> None:
        self._evidence = evidence
        self._backlog = backlog
        self._ray_start_seconds = ray_start_seconds

    async def route(self, request: RouteRequest, terms: JobTerms, seed: int) -> Route:
        """Choose for a job; the same evidence and seed give the same choice.

        Raises:
            redis.RedisError: what was observed cannot be read.
        """
        known = await self._known(terms)
        asked = asked_for(request)
        against = None if asked is not None else against_ray(request)
        if asked is not None:
            engines: tuple[Engine, ...] = (asked[0],)
        else:
            engines = ("celery", "ray") if against is None else ("celery",)
        priority = PRIORITIES[terms.priority]
        now = {engine: self._busy(engine, request, priority, known) for engine in engines}
        choice, size_reason = _chosen(request, now, known, seed)
        chosen = choice.chosen
        work = request.items_total * (chosen.cost or ItemCost()).seconds
        self._backlog.add(chosen.engine, priority, work)
        return Route(
            engine=chosen.engine,
            chunk_items=chosen.chunk_items,
            policy="adaptive",
            reasons=(asked[1] if asked is not None else _compared(choice, against), size_reason),
            alternatives=tuple(_ALTERNATIVE.dump_python(each, mode="json") for each in choice.alternatives),
            seed=seed,
        )

    async def chunks(self, request: RouteRequest, terms: JobTerms, engine: Engine) -> tuple[int, str]:
        """Items of a chunk on an engine that another policy has chosen, and why.

        Raises:
            redis.RedisError: what was observed cannot be read.
        """
        given = static_chunks(request, engine) if request.items_total == 1 else given_chunks(request)
        if given is not None:
            return given
        known = await self._known(terms)
        choice, size_reason = _chosen(request, {engine: _quiet(engine, request, known)}, known, seed=0)
        return choice.chosen.chunk_items, size_reason

    async def _known(self, terms: JobTerms) -> Known:
        kind = kind_of(terms)
        return Known() if kind is None else await self._evidence.of(kind)

    def _busy(self, engine: Engine, request: RouteRequest, priority: int, known: Known) -> EngineNow:
        quiet = _quiet(engine, request, known)
        return replace(
            quiet,
            backlog_seconds=self._backlog.seconds(engine, priority) / quiet.slots,
            start_seconds=self._ray_start_seconds(request.workload) if engine == "ray" else 0.0,
        )


def _quiet(engine: Engine, request: RouteRequest, known: Known) -> EngineNow:
    """An engine that runs, and has nothing else to do."""
    return EngineNow(
        slots=request.ray_slots if engine == "ray" else request.slots,
        job_seconds=_JOB_SECONDS,
        chunk_seconds=_TASK_SECONDS[engine] + known.waits.get(engine, _USUAL_WAIT),
    )


def _chosen(request: RouteRequest, engines: Mapping[Engine, EngineNow], known: Known, seed: int) -> tuple[Choice, str]:
    """The choice, and why its chunks are as large as they are."""
    # Chunks of what has never run are those of the static policy: a guess may be wrong by a factor of a thousand.
    given = {engine: static_chunks(request, engine) for engine in engines}
    is_given = not known.costs or given_chunks(request) is not None
    adaptive = AdaptiveRequest(
        items=request.items_total,
        engines=engines,
        costs=known.costs,
        weights=request.rule.weights,
        last=known.last,
        chunk_items={engine: chunk_items for engine, (chunk_items, _) in given.items()} if is_given else {},
    )
    choice = choose(adaptive, seed)
    chosen = choice.chosen
    return choice, given[chosen.engine][1] if is_given else _sized(chosen, request, known)


def _compared(choice: Choice, against: str | None) -> str:
    """One sentence: what is predicted of each engine, and what makes the difference."""
    parts = [_predicted(alternative) for alternative in choice.alternatives]
    if against is not None:
        return f"{parts[0]}; {against}"
    chosen, *others = choice.alternatives
    note = " (tried, to learn what it takes)" if any(other.seconds < chosen.seconds for other in others) else ""
    return f"{parts[0]}{note}; {'; '.join(parts[1:])}"


def _predicted(alternative: Alternative) -> str:
    now = alternative.now
    text = f"{alternative.engine} is predicted to take {_duration(alternative.seconds)}"
    if now.start_seconds > now.backlog_seconds:
        return f"{text}, including {_duration(now.start_seconds)} to start"
    if now.backlog_seconds > 0.1 * alternative.seconds:
        return f"{text}, including {_duration(now.backlog_seconds)} of other jobs"
    return text


def _sized(chosen: Alternative, request: RouteRequest, known: Known) -> str:
    cost = known.costs.get(chosen.engine) or max(known.costs.values(), key=lambda each: each.weight)
    items = counted(request.items_total, "item")
    return f"{items} of about {_duration(cost.seconds)} each: chunks of {chosen.chunk_items}"


def _duration(seconds: float) -> str:
    unit, factor = next((each for each in _UNITS if seconds * each[1] >= 1), _UNITS[-1])
    return f"{seconds * factor:.3g} {unit}"
