"""The adaptive policy: what it takes into account, what an operator's word changes, and the sentence that says why."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from pydantic import ValidationError

from eldermesh.contract.vocabulary import Engine
from services.router.jobs.observation import Kind
from services.router.jobs.state import JobState
from services.router.policy.adaptive.backlog import Backlog, work_of
from services.router.policy.adaptive.evidence import Evidence, Known
from services.router.policy.adaptive.item_cost import ItemCost
from services.router.policy.adaptive.policy import AdaptivePolicy
from services.router.policy.engine_choice import Route, RouteRequest, static_policy
from shared.facts.jobs import JobRouted
from shared.priorities import PRIORITIES
from shared.route_rules import RouteRule, RouteRules
from tests.unit.jobs.story import Story, accepted
from tests.unit.runs import MovedClock

REQUEST = RouteRequest(workload="python", items_total=1_000, engine="auto", slots=2, ray_slots=2)


def cost(seconds: float) -> ItemCost:
    """Well known."""
    return ItemCost(math.log(seconds), 1e-6, 1000.0, 0.1)


@dataclass
class Mesh:
    """What the policy is told."""

    known: Known = field(default_factory=Known)
    backlog: dict[Engine, float] = field(default_factory=dict)
    ray_start: float = 0.0
    added: list[tuple[Engine, int, float]] = field(default_factory=list)

    async def of(self, kind: Kind) -> Known:
        """As `Evidence` answers."""
        assert kind == Kind("python", "math:sqrt")
        return self.known

    def seconds(self, engine: Engine, priority: int) -> float:
        """As `Backlog` answers."""
        assert priority == PRIORITIES["normal"]
        return self.backlog.get(engine, 0.0)

    def add(self, engine: Engine, priority: int, seconds: float) -> None:
        """As `Backlog` is told."""
        self.added.append((engine, priority, seconds))

    async def route(self, request: RouteRequest) -> Route:
        """The policy's choice."""
        policy = AdaptivePolicy(cast("Evidence", self), cast("Backlog", self), lambda _: self.ray_start)
        return await policy.route(request, accepted(subject="math:sqrt").terms, seed=7)


BOTH = Known({"celery": cost(0.01), "ray": cost(0.005)}, last="ray")


async def test_the_sentence_says_what_each_engine_would_take() -> None:
    """And what an item takes, by which the chunks are made."""
    route = await Mesh(BOTH).route(REQUEST)
    assert (route.engine, route.policy, route.seed) == ("ray", "adaptive", 7)
    first, second = route.reasons
    assert first == "ray is predicted to take 2.56 s; celery is predicted to take 5.13 s"
    assert second == f"1000 items of about 5 ms each: chunks of {route.chunk_items}"
    assert [each["engine"] for each in route.alternatives] == ["ray", "celery"]


async def test_what_was_routed_counts_at_once() -> None:
    """Else hundreds of jobs of a burst would see the same idle engine."""
    mesh = Mesh(BOTH)
    await mesh.route(REQUEST)
    ((engine, priority, seconds),) = mesh.added
    assert (engine, priority, round(seconds, 6)) == ("ray", PRIORITIES["normal"], 5.0)


async def test_an_engine_that_starts_or_is_busy() -> None:
    """The sentence says which part of the time that is."""
    cold = await Mesh(BOTH, ray_start=15.0).route(REQUEST)
    assert cold.engine == "celery"
    assert cold.reasons[0].endswith("ray is predicted to take 17.6 s, including 15 s to start")
    busy = await Mesh(BOTH, backlog={"ray": 60.0}).route(REQUEST)
    assert busy.engine == "celery"
    assert busy.reasons[0].endswith("ray is predicted to take 32.6 s, including 30 s of other jobs")


async def test_what_never_ran_has_the_chunks_of_the_static_policy() -> None:
    """A guess at what an item takes may be wrong by a factor of a thousand."""
    request = replace(REQUEST, ray_slots=16)
    cases: tuple[tuple[Engine, Engine, int], ...] = (("ray", "celery", 16), ("celery", "ray", 125))
    for idle, busy, chunk_items in cases:
        route = await Mesh(backlog={busy: 1e4}).route(request)
        assert route.engine == idle
        assert route.chunk_items == static_policy(replace(request, engine=idle)).chunk_items == chunk_items


@pytest.mark.parametrize("wish", ["celery", "ray"])
async def test_who_asks_for_an_engine_gets_it(wish: Engine) -> None:
    """And chunks by what is known."""
    route = await Mesh(BOTH, backlog={wish: 1e4}).route(replace(REQUEST, engine=wish))
    assert (route.engine, route.reasons[0]) == (wish, f"{wish} was asked for")
    assert route.chunk_items > 50


async def test_ray_is_not_there() -> None:
    """Missing or in trouble: the reason says so."""
    missing = await Mesh(BOTH).route(replace(REQUEST, ray_missing="ray is not configured"))
    assert (missing.engine, missing.reasons[0]) == (
        "celery",
        "celery is predicted to take 5.13 s; ray is not configured",
    )
    away = await Mesh(BOTH).route(replace(REQUEST, ray_trouble="Ray does not answer"))
    assert (away.engine, away.reasons[0]) == ("celery", "celery is predicted to take 5.13 s; Ray does not answer")


async def test_an_operator_pins_a_workload() -> None:
    """Before what a submit asks for, with either policy; where Ray cannot run it, Celery does."""
    pinned = replace(REQUEST, engine="ray", rule=RouteRule(engine="celery"))
    for route in (await Mesh(BOTH).route(pinned), static_policy(pinned)):
        assert (route.engine, route.reasons[0]) == ("celery", "python jobs run on celery (MESH_ROUTES)")
    missing = replace(REQUEST, rule=RouteRule(engine="ray"), ray_missing="ray is not configured")
    for route in (await Mesh(BOTH).route(missing), static_policy(missing)):
        assert route.engine == "celery"
        assert route.reasons[0] == "python jobs run on ray (MESH_ROUTES), but ray is not configured"


async def test_an_operator_weighs_engines_and_sets_the_chunks() -> None:
    """Celery of weight 3 is taken though it takes twice as long."""
    weighed = replace(REQUEST, rule=RouteRule(weights={"celery": 3.0}, chunk_items=7))
    route = await Mesh(BOTH).route(weighed)
    assert (route.engine, route.chunk_items, route.reasons[1]) == ("celery", 7, "chunks of 7 by setting")
    assert static_policy(weighed).chunk_items == 7


async def test_the_static_policy_has_chunks_by_what_is_known() -> None:
    """Of the engine that it has chosen; one item is one chunk, whatever is known."""
    policy = AdaptivePolicy(cast("Evidence", Mesh(BOTH)), cast("Backlog", Mesh()), lambda _: 15.0)
    terms = accepted(subject="math:sqrt").terms
    chunk_items, why = await policy.chunks(REQUEST, terms, "celery")
    assert why == f"1000 items of about 10 ms each: chunks of {chunk_items}"
    assert 50 < chunk_items <= 100
    assert await policy.chunks(replace(REQUEST, items_total=1), terms, "celery") == (
        1,
        "1 item over 2 slots: chunks of 1",
    )
    assert (await policy.chunks(replace(REQUEST, single_items=True), terms, "celery"))[0] == 1
    unknown = AdaptivePolicy(cast("Evidence", Mesh()), cast("Backlog", Mesh()), lambda _: 15.0)
    assert (await unknown.chunks(REQUEST, terms, "celery"))[0] == static_policy(REQUEST).chunk_items


async def test_dear_items_go_one_by_one() -> None:
    """Whatever they took."""
    assert (await Mesh(BOTH).route(replace(REQUEST, single_items=True))).chunk_items == 1


def test_rules_are_by_workload() -> None:
    """A wrong one is refused; one that is not there says nothing."""
    rules = RouteRules.model_validate({"python": {"engine": "ray"}})
    assert rules.of("python").engine == "ray"
    assert rules.of("claude") == RouteRule()
    with pytest.raises(ValidationError):
        RouteRules.model_validate({"python": {"engine": "spark"}})


def routed(items: int, engine: Engine, **terms: Any) -> JobState:
    """A job on an engine."""
    story = Story()
    story.tell(accepted(items, subject="math:sqrt", **terms))
    story.tell(JobRouted(n=0, engine=engine, chunk_items=1, policy="adaptive"))
    return story.job


def test_work_is_what_is_missing() -> None:
    """Of routed jobs, by engine and priority; those that are not routed wait for nobody's slot."""
    states = [routed(10, "celery"), routed(5, "celery"), routed(4, "ray", priority="batch")]
    unrouted = Story()
    unrouted.tell(accepted(100))
    work = work_of([*states, unrouted.job], lambda _, engine: {"celery": 1.0, "ray": 2.0}[engine])
    assert work == {("celery", PRIORITIES["normal"]): 15.0, ("ray", PRIORITIES["batch"]): 8.0}


def test_a_job_waits_for_what_goes_before_it() -> None:
    """Of higher or the same priority, of all replicas, and counted again after a while."""
    jobs = [routed(10, "celery", priority="batch"), routed(3, "celery", priority="interactive")]
    asked, clock = [], MovedClock()

    def states() -> Iterable[JobState]:
        asked.append(clock.monotonic())
        return jobs

    backlog = Backlog(states, lambda: 0.5, lambda *_: 1.0, clock)
    assert backlog.seconds("celery", PRIORITIES["interactive"]) == 6.0
    assert backlog.seconds("celery", PRIORITIES["batch"]) == 26.0
    assert backlog.seconds("ray", PRIORITIES["batch"]) == 0.0
    assert len(asked) == 1
    backlog.add("ray", PRIORITIES["batch"], 4.0)
    assert backlog.seconds("ray", PRIORITIES["batch"]) == 8.0
    clock.move(1.0)
    jobs.clear()
    assert backlog.seconds("celery", PRIORITIES["batch"]) == 0.0
