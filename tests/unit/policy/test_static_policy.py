"""The static policy: which engine, and how large the chunks are."""

from __future__ import annotations

from dataclasses import replace

from services.router.policy.engine_choice import RouteRequest, static_policy

_REQUEST = RouteRequest(workload="python", items_total=100, engine="auto", slots=4)


def test_cheap_items_are_spread_over_the_slots() -> None:
    """About four chunks a slot, never more than 500 items in one."""
    assert static_policy(replace(_REQUEST, engine="celery")).chunk_items == 7
    assert static_policy(replace(_REQUEST, items_total=1)).chunk_items == 1
    assert static_policy(replace(_REQUEST, items_total=100_000)).chunk_items == 500


def test_items_that_cost_much_go_one_by_one() -> None:
    """A prompt waits for no other, and dies alone; an operator's setting still wins."""
    dear = replace(_REQUEST, workload="claude", single_items=True)
    route = static_policy(dear)
    assert route.chunk_items == 1
    assert "each item of claude takes long or costs money, so each has a chunk of its own" in route.reasons
    assert static_policy(replace(dear, forced_chunk_items=5)).chunk_items == 5


def test_large_jobs_go_to_ray() -> None:
    """From the threshold on, and its slots decide the chunks; below it Celery."""
    large = replace(_REQUEST, ray_slots=20)
    route = static_policy(large)
    assert (route.engine, route.chunk_items) == ("ray", 2)
    assert route.reasons[0] == "100 items, at least 100"
    below = static_policy(replace(large, items_total=99))
    assert (below.engine, below.reasons[0]) == ("celery", "99 items, fewer than 100")
    assert static_policy(replace(large, items_total=99, ray_threshold_items=50)).engine == "ray"


def test_who_asks_for_an_engine_gets_it() -> None:
    """Whatever the size, and also where Ray is away for the moment: then the job waits for it."""
    assert static_policy(replace(_REQUEST, engine="celery", items_total=100_000)).engine == "celery"
    asked = replace(_REQUEST, engine="ray", items_total=1, ray_trouble="Ray does not answer")
    assert (static_policy(asked).engine, static_policy(asked).reasons[0]) == ("ray", "ray was asked for")


def test_without_ray_all_goes_to_celery_and_the_reason_says_why() -> None:
    """Not configured: also for who asked for it. Away: only for jobs that may run anywhere."""
    missing = replace(_REQUEST, ray_missing="ray is not configured")
    assert static_policy(missing).reasons[0] == "100 items, at least 100, but ray is not configured"
    asked = static_policy(replace(missing, engine="ray"))
    assert (asked.engine, asked.reasons[0]) == ("celery", "ray was asked for, but ray is not configured")
    away = static_policy(replace(_REQUEST, ray_trouble="Ray does not answer"))
    assert (away.engine, away.reasons[0]) == ("celery", "100 items, at least 100, but Ray does not answer")
