"""The policy `adaptive`: gathers what is known, chooses, and says why in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pydantic import TypeAdapter

from eldermesh.contract.vocabulary import Engine
from eldermesh.counted import counted
from services.router.jobs.observation import kind_of
from services.router.policy.adaptive.backlog import Backlog
from services.router.policy.adaptive.choice import AdaptiveRequest, Alternative, Choice, choose
from services.router.policy.adaptive.evidence import Evidence, Known
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
"""From a job's routing to the dispatch of its first chunk, and from its last result to its end, on a quiet mesh."""

_USUAL_WAITS: Final[Mapping[Engine, float]] = {"celery": 0.01, "ray": 0.008}
"""From the dispatch of a chunk to its first item, until it was seen."""

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
        known = await self._evidence.of(kind_of(terms))
        asked = asked_for(request)
        against = None if asked is not None else against_ray(request)
        if asked is not None:
            engines: tuple[Engine, ...] = (asked[0],)
        else:
            engines = ("celery", "ray") if against is None else ("celery",)
        choice, size_reason = self._chosen(request, terms, engines, known, seed)
        return Route(
            engine=choice.chosen.engine,
            chunk_items=choice.chosen.chunk_items,
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
        known = await self._evidence.of(kind_of(terms))
        choice, size_reason = self._chosen(request, terms, (engine,), known, seed=0)
        return choice.chosen.chunk_items, size_reason

    def _chosen(
        self, request: RouteRequest, terms: JobTerms, engines: Sequence[Engine], known: Known, seed: int
    ) -> tuple[Choice, str]:
        """The choice, and why its chunks are as large as they are."""
        # Chunks of what has never run are those of the static policy: a guess may be wrong by a factor of a thousand.
        given = given_chunks(request) if known.costs else static_chunks(request, engines[0])
        adaptive = AdaptiveRequest(
            items=request.items_total,
            engines={engine: self._now(engine, request, terms, known) for engine in engines},
            costs=known.costs,
            weights=request.rule.weights,
            last=known.last,
            chunk_items=None if given is None else given[0],
        )
        choice = choose(adaptive, seed)
        return choice, _sized(choice.chosen, request, known) if given is None else given[1]

    def _now(self, engine: Engine, request: RouteRequest, terms: JobTerms, known: Known) -> EngineNow:
        slots = request.ray_slots if engine == "ray" else request.slots
        wait = known.waits.get(engine, _USUAL_WAITS[engine])
        return EngineNow(
            slots=slots,
            job_seconds=_JOB_SECONDS,
            chunk_seconds=wait,
            backlog_seconds=self._backlog.seconds(engine, PRIORITIES[terms.priority]) / slots,
            start_seconds=self._ray_start_seconds(terms.workload) if engine == "ray" else 0.0,
        )


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
        return f"{text}, of which it starts for {_duration(now.start_seconds)}"
    if now.backlog_seconds > 0.1 * alternative.seconds:
        return f"{text}, of which others' items take {_duration(now.backlog_seconds)}"
    return text


def _sized(chosen: Alternative, request: RouteRequest, known: Known) -> str:
    cost = known.costs.get(chosen.engine) or max(known.costs.values(), key=lambda each: each.weight)
    items = counted(request.items_total, "item")
    return f"{items} of about {_duration(cost.seconds)} each: chunks of {chosen.chunk_items}"


def _duration(seconds: float) -> str:
    unit, factor = next((each for each in _UNITS if seconds * each[1] >= 1), _UNITS[-1])
    return f"{seconds * factor:.3g} {unit}"
