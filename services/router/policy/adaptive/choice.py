"""The choice: engine and chunks that take the least time by a sample of what items may take. Pure, given a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from eldermesh.contract.vocabulary import Engine
from services.router.policy.adaptive.item_cost import ItemCost
from services.router.policy.adaptive.prediction import EngineNow, best_chunks, predicted

HYSTERESIS: Final = 0.05
"""Another engine than the last one must be so much faster, so that the engine does not change back and forth."""


@dataclass(frozen=True, slots=True)
class AdaptiveRequest:
    """What the policy knows of a job and of the engines that may run it.

    Attributes:
        items: of the job.
        engines: those that may run it, as they are now.
        costs: what an item takes on each, as far as known.
        weights: of an operator: an engine of weight 2 counts as twice as fast as predicted.
        last: where the workload's last job went.
        chunk_items: by engine, where the chunk size is given.
    """

    items: int
    engines: Mapping[Engine, EngineNow]
    costs: Mapping[Engine, ItemCost] = field(default_factory=dict)
    weights: Mapping[Engine, float] = field(default_factory=dict)
    last: Engine | None = None
    chunk_items: Mapping[Engine, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alternative:
    """An engine that was looked at, with all that was known: whoever reads it can choose again (`request_of`).

    Attributes:
        seconds: predicted by what is known.
        sampled_seconds: predicted by the sample that decided.
        now: the engine as it was.
        cost: what was known of items on it; None: nothing.
        weight: an operator's.
        was_last: whether it ran the workload's last job.
        is_fixed: whether the chunk size was given.
    """

    engine: Engine
    chunk_items: int
    seconds: float
    sampled_seconds: float
    now: EngineNow
    cost: ItemCost | None
    weight: float
    was_last: bool
    is_fixed: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """The alternatives, the chosen one first."""

    alternatives: tuple[Alternative, ...]

    @property
    def chosen(self) -> Alternative:
        """The one that is taken."""
        return self.alternatives[0]


def choose(request: AdaptiveRequest, seed: int) -> Choice:
    """The engine with the least sampled time, and the chunks with the least predicted time on it.

    Raises:
        ValueError: no engine may run the job.
    """
    if not request.engines:
        raise ValueError("no engine may run the job")
    random = Random(seed)  # noqa: S311 - it explores; nothing has to be secret
    found = [_alternative(request, engine, random) for engine in sorted(request.engines)]
    return Choice(tuple(sorted(found, key=_weighted)))


def request_of(items: int, alternatives: Sequence[Alternative]) -> AdaptiveRequest:
    """The request from which alternatives were made: with the same seed it gives the same choice."""
    return AdaptiveRequest(
        items=items,
        engines={each.engine: each.now for each in alternatives},
        costs={each.engine: each.cost for each in alternatives if each.cost is not None},
        weights={each.engine: each.weight for each in alternatives},
        last=next((each.engine for each in alternatives if each.was_last), None),
        chunk_items={each.engine: each.chunk_items for each in alternatives if each.is_fixed},
    )


def _weighted(alternative: Alternative) -> float:
    favour = 1.0 if alternative.was_last else 1.0 + HYSTERESIS
    return alternative.sampled_seconds * favour / alternative.weight


def _alternative(request: AdaptiveRequest, engine: Engine, random: Random) -> Alternative:
    now, cost = request.engines[engine], _cost(request, engine)
    # Of items that never ran nothing can be learned by a guess at one engine: both have the same code to run.
    sampled = cost.sampled(random) if request.costs else cost.seconds
    given = request.chunk_items.get(engine)
    chunk_items = given or best_chunks(request.items, cost.seconds, cost.spread, now).chunk_items
    seconds, sampled_seconds = (
        predicted(request.items, chunk_items, item_seconds, cost.spread, now)
        for item_seconds in (cost.seconds, sampled)
    )
    return Alternative(
        engine=engine,
        chunk_items=chunk_items,
        seconds=seconds,
        sampled_seconds=sampled_seconds,
        now=now,
        cost=request.costs.get(engine),
        weight=request.weights.get(engine, 1.0),
        was_last=engine == request.last,
        is_fixed=given is not None,
    )


def _cost(request: AdaptiveRequest, engine: Engine) -> ItemCost:
    """What is known of the engine; where that is nothing, what another engine has seen, with a weight of one."""
    own = request.costs.get(engine, ItemCost())
    if own.weight:
        return own
    others = [cost for cost in request.costs.values() if cost.weight]
    if not others:
        return own
    best = max(others, key=lambda cost: cost.weight)
    return ItemCost(best.mean, max(best.variance, _OTHER_VARIANCE), 0.0, best.spread)


_OTHER_VARIANCE: Final = 0.25
"""Engines run the same code: a factor of more than 2.7 between them would be a surprise."""
