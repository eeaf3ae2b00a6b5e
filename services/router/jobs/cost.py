"""The cost of a job, counted once for each attempt at an item, and whether it is above the limit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from services.router.jobs.cost_keys import with_attempt
from services.router.jobs.state import JobState

_MICROS = 1_000_000


def with_costs(state: JobState, epoch: int, attempts: Iterable[tuple[int | None, int, int | None]]) -> JobState:
    """The state with the cost of attempts under one epoch; attempts counted before are skipped.

    Each attempt has the index of its item, its number, and its cost in millionths of a dollar (None if unknown).
    """
    keys, micros = state.cost_keys, 0
    for item_index, attempt, cost_micros in attempts:
        if cost_micros is not None:
            known, keys = keys, with_attempt(keys, epoch, attempt, item_index)
            micros += cost_micros if keys is not known else 0
    if keys is state.cost_keys:
        return state
    return replace(state, cost_micros=(state.cost_micros or 0) + micros, cost_keys=keys)


def over_budget(state: JobState) -> str | None:
    """Why a live job has cost too much; None if it has not."""
    limit, cost = None if state.terms is None else state.terms.max_cost_micros, state.cost_micros or 0
    return f"cost {cost / _MICROS} USD is above max_cost_usd" if limit is not None and cost > limit else None
