"""The adaptive choice: from inputs and a seed alone, and the same again from what the history keeps of it."""

from __future__ import annotations

import math

import pytest
from pydantic import TypeAdapter

from eldermesh.contract.vocabulary import Engine
from services.router.policy.adaptive.choice import AdaptiveRequest, Alternative, choose, request_of
from services.router.policy.adaptive.item_cost import ItemCost
from services.router.policy.adaptive.prediction import (
    MOST_CHUNK_ITEMS,
    MOST_CHUNK_SECONDS,
    EngineNow,
    best_chunks,
    predicted,
)

QUIET = EngineNow(slots=2, job_seconds=0.02, chunk_seconds=0.01)
COLD = EngineNow(slots=2, job_seconds=0.02, chunk_seconds=0.005, start_seconds=15.0)


def cost(seconds: float, spread: float = 0.1) -> ItemCost:
    """Well known."""
    return ItemCost(math.log(seconds), 0.01, 20.0, spread)


def request(items: int = 250, celery: EngineNow = QUIET, ray: EngineNow = QUIET, **changes: object) -> AdaptiveRequest:
    """For a job that both engines may run."""
    return AdaptiveRequest(items, {"celery": celery, "ray": ray}, **changes)  # type: ignore[arg-type]


def engines(asked: AdaptiveRequest) -> set[Engine]:
    """What is chosen with many seeds."""
    return {choose(asked, seed).chosen.engine for seed in range(50)}


def test_the_history_tells_how_to_choose_again() -> None:
    """Whoever reads the alternatives as they were written makes the same choice."""
    adapter = TypeAdapter(list[Alternative])
    for seed in range(200):
        known = {"celery": cost(0.01 * (1 + seed % 7)), "ray": ItemCost()}
        if seed % 3 == 0:
            del known["ray"]
        asked = request(seed + 1, ray=COLD if seed % 2 else QUIET, costs=known, last="ray", weights={"ray": 1.5})
        made = choose(asked, seed)
        written = adapter.validate_json(adapter.dump_json(list(made.alternatives)))
        assert choose(request_of(seed + 1, written), seed) == made


def test_a_small_job_does_not_wait_for_an_engine_that_starts() -> None:
    """250 no-op items where Ray has not started."""
    assert engines(request(250, ray=COLD, costs={"celery": cost(2e-5)})) == {"celery"}
    assert engines(request(250, ray=COLD)) == {"celery"}


def test_what_is_known_to_be_faster_is_taken() -> None:
    """And what has less to do already."""
    assert engines(request(costs={"celery": cost(0.03), "ray": cost(0.01)})) == {"ray"}
    busy = EngineNow(slots=2, job_seconds=0.02, chunk_seconds=0.01, backlog_seconds=60.0)
    assert engines(request(celery=busy, costs={"celery": cost(0.01), "ray": cost(0.012)})) == {"ray"}


def test_what_is_hardly_known_is_tried() -> None:
    """Sometimes, though the other one is known to be good."""
    assert engines(request(costs={"celery": cost(0.01)}, last="celery")) == {"celery", "ray"}


def test_equal_engines_are_not_taken_in_turns() -> None:
    """The last one stays."""
    same = {"celery": cost(0.01), "ray": cost(0.01)}
    sure = {engine: ItemCost(each.mean, 1e-6, 1000.0, each.spread) for engine, each in same.items()}
    for last in ("celery", "ray"):
        assert engines(request(costs=sure, last=last)) == {last}


def test_an_operators_weight() -> None:
    """Ray of weight 2 is taken until it takes twice as long."""
    for slower, chosen in ((1.8, "ray"), (2.3, "celery")):
        sure = {"celery": ItemCost(math.log(0.1), 1e-6, 1000.0, 0.1)}
        sure["ray"] = ItemCost(math.log(0.1 * slower), 1e-6, 1000.0, 0.1)
        assert engines(request(10_000, costs=sure, weights={"ray": 2.0})) == {chosen}


def test_no_engine() -> None:
    """Is an error of the caller."""
    with pytest.raises(ValueError, match="no engine"):
        choose(AdaptiveRequest(1, {}), 0)


def test_a_chunk_keeps_its_slot_for_a_second_at_most() -> None:
    """However large the job; items that take longer go one by one."""
    for seconds in (1e-5, 1e-3, 0.1, 5.0):
        chunk_items = best_chunks(1_000_000, seconds, 0.1, QUIET).chunk_items
        assert chunk_items == 1 or chunk_items * seconds <= MOST_CHUNK_SECONDS


def test_a_chunk_of_short_items_is_bounded() -> None:
    """One may take longer than all before it, and a death runs its chunk again."""
    assert best_chunks(1_000_000, 1e-6, 0.1, QUIET).chunk_items == MOST_CHUNK_ITEMS


def test_uneven_items_have_smaller_chunks() -> None:
    """What is left at the end is evened out."""
    even, uneven = (best_chunks(200, 0.005, spread, QUIET).chunk_items for spread in (0.01, 3.0))
    assert uneven < even


def test_work_that_waits_delays_a_job() -> None:
    """By what is before it, not by what its own chunks take."""
    busy = EngineNow(slots=2, job_seconds=0.02, chunk_seconds=0.01, backlog_seconds=3.0)
    quiet, late = (predicted(100, 10, 0.01, 0.1, engine) for engine in (QUIET, busy))
    assert late - quiet == pytest.approx(3.0)
