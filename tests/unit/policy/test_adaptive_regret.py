"""The adaptive policy in a simulation: how much slower its jobs are than by the best choice, looking back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from statistics import fmean

from eldermesh.contract.vocabulary import Engine
from services.router.policy.adaptive.choice import AdaptiveRequest, choose
from services.router.policy.adaptive.item_cost import ItemCost
from services.router.policy.adaptive.prediction import EngineNow, best_chunks, predicted

ENGINES: dict[Engine, EngineNow] = {
    "celery": EngineNow(slots=2, job_seconds=0.03, chunk_seconds=0.005),
    "ray": EngineNow(slots=2, job_seconds=0.03, chunk_seconds=0.003),
}
KINDS = (2e-5, 1e-3, 1e-2, 0.1)
"""Seconds of an item of each workload."""
SIZES = (1, 10, 100, 1_000, 10_000)


@dataclass
class World:
    """What really happens: each engine has a factor on the items' time."""

    random: Random
    factors: dict[Engine, float]

    def seconds(self, engine: Engine, kind: float, items: int, chunk_items: int) -> float:
        """Without noise."""
        return predicted(items, chunk_items, kind * self.factors[engine], 0.1, ENGINES[engine])

    def best(self, kind: float, items: int) -> float:
        """Of all engines and chunks."""
        return min(best_chunks(items, kind * self.factors[e], 0.1, now).seconds for e, now in ENGINES.items())


def regret(world: World, known: dict[float, dict[Engine, ItemCost]], last: dict[float, Engine], jobs: int) -> float:
    """Geometric mean of taken over best, of random jobs, whose outcomes are learned."""
    logs = []
    for number in range(jobs):
        kind, items = world.random.choice(KINDS), world.random.choice(SIZES)
        costs = known.setdefault(kind, {})
        choice = choose(AdaptiveRequest(items, ENGINES, costs, last=last.get(kind)), seed=number).chosen
        last[kind] = choice.engine
        taken = world.seconds(choice.engine, kind, items, choice.chunk_items)
        logs.append(math.log(taken / world.best(kind, items)))
        measured = kind * world.factors[choice.engine] * math.exp(world.random.gauss(0, 0.1))
        costs[choice.engine] = costs.get(choice.engine, ItemCost()).observed(measured, 0.1)
    return math.exp(fmean(logs))


def test_regret_is_small_and_a_change_is_followed() -> None:
    """The first 100 jobs, then steady, then after one engine has become three times as slow."""
    for seed in range(5):
        world = World(Random(seed), {"celery": 1.0, "ray": 1.0})
        known: dict[float, dict[Engine, ItemCost]] = {}
        last: dict[float, Engine] = {}
        first = regret(world, known, last, 100)
        steady = regret(world, known, last, 400)
        world.factors["ray"] = 3.0
        drifted = regret(world, known, last, 100)
        after = regret(world, known, last, 300)

        assert first <= 1.2
        assert steady <= 1.06
        assert drifted <= 1.2
        assert after <= 1.06
