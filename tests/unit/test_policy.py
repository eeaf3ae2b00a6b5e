"""The static policy: how large the chunks are."""

from __future__ import annotations

from dataclasses import replace

from services.router.policy import RouteRequest, static_policy

_REQUEST = RouteRequest(workload="python", items_total=100, engine="auto", slots=4)


def test_cheap_items_are_spread_over_the_slots() -> None:
    """About four chunks a slot, never more than 500 items in one."""
    assert static_policy(_REQUEST).chunk_items == 7
    assert static_policy(replace(_REQUEST, items_total=1)).chunk_items == 1
    assert static_policy(replace(_REQUEST, items_total=100_000)).chunk_items == 500


def test_dear_items_go_one_by_one() -> None:
    """A prompt waits for no other, and dies alone; an operator's setting still wins."""
    dear = replace(_REQUEST, workload="claude", dear_items=True)
    route = static_policy(dear)
    assert route.chunk_items == 1
    assert "items of claude are dear: one a chunk" in route.reasons
    assert static_policy(replace(dear, forced_chunk_items=5)).chunk_items == 5
