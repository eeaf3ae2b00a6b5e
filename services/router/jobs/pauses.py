"""Folding pauses and interruptions: a run that stopped in order gives its chunk back, and nobody has died."""

from __future__ import annotations

from dataclasses import replace

from services.router.jobs import clock
from services.router.jobs.cost import over_budget, with_costs
from services.router.jobs.end import ended
from services.router.jobs.plan import put_back
from services.router.jobs.state import JobState, Wait
from shared.facts.jobs import ChunkInterrupted, JobPaused
from shared.history.chunk_id import ChunkId

_MAX_DOUBLINGS = 30


def interrupted(state: JobState, fact: ChunkInterrupted) -> JobState:
    """The chunk's missing items are to be run again, under the next epoch; that is no death."""
    return put_back(state, fact.chunk_id) or state


def paused(state: JobState, fact: JobPaused) -> JobState:
    """The job waits for quota; a run's chunk goes back into the plan at once, to be dispatched when the pause is over.

    Only the run of a current chunk has a say: what a repeat, or a run that was given up, tells of quota is old.
    """
    if fact.chunk_id is not None:
        again = put_back(state, fact.chunk_id)
        if again is None:
            return state
        # What the run has spent on the item that it could not finish.
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
    """When to ask again if nobody said: twice as late as the last time, for as long as no item has ended."""
    if state.pause is not None:
        return state.pause.until
    return state.t + min(fact.longest_ms, fact.first_ms << min(state.pauses, _MAX_DOUBLINGS))
