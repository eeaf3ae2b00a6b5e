"""Folding pauses and interruptions: a run that stops in order gives its chunk back, which is not a death."""

from __future__ import annotations

from dataclasses import replace

from services.router.jobs import clock
from services.router.jobs.cost import over_budget, with_costs
from services.router.jobs.end import ended
from services.router.jobs.retries import put_back
from services.router.jobs.state import JobState, Wait
from shared.facts.jobs import ChunkInterrupted, JobPaused
from shared.history.chunk_id import ChunkId

_MAX_DOUBLINGS = 30


def interrupted(state: JobState, fact: ChunkInterrupted) -> JobState:
    """The chunk's missing items are planned again under the next epoch; this does not count as a death."""
    return put_back(state, fact.chunk_id) or state


def paused(state: JobState, fact: JobPaused) -> JobState:
    """The job waits for quota; the run's chunk goes back into the plan at once, and is dispatched after the pause.

    Only the run of a current chunk counts: what a repeat or a replaced run says of quota is out of date.
    """
    if fact.chunk_id is not None:
        again = put_back(state, fact.chunk_id)
        if again is None:
            return state
        # The cost of the item that the run could not finish.
        spent = (fact.item_index, fact.attempt, fact.cost_micros)
        state = with_costs(again, ChunkId.parse(fact.chunk_id).epoch, [spent])
        if (reason := over_budget(state)) is not None:
            return ended(state, "failed", "budget", reason)
    until = fact.until if fact.until is not None else _until(state, fact)
    if until <= state.t:
        return state
    begun = state.pause
    if begun is not None:
        until = max(until, begun.until)
    waiting = replace(
        clock.stop_clock(state),
        pause=Wait(fact.reason, state.t if begun is None else begun.since, until),
        pauses=state.pauses + (begun is None),
    )
    return clock.arm(waiting, clock.PAUSE, until)


def _until(state: JobState, fact: JobPaused) -> int:
    """When to try again if the fact does not say: pauses double until an item ends."""
    if state.pause is not None:
        return state.pause.until
    return state.t + min(fact.longest_ms, fact.first_ms << min(state.pauses, _MAX_DOUBLINGS))
