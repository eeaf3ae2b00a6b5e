"""Past holds and pauses, which a job's state remembers for people and for the trace."""

from __future__ import annotations

from dataclasses import replace

from eldermesh.contract.holds import HoldOutcome
from services.router.jobs import clock
from services.router.jobs.state import JobState, PastWait

MAX_WAITS = 50
"""The number of newest waits that a job remembers; one that meets a quota often may have more."""


def hold_over(
    state: JobState,
    outcome: HoldOutcome,
    *,
    by: str | None = None,
    reason: str | None = None,
    decision: str | None = None,
) -> JobState:
    """The state without its hold, if it has one; starting the clock is up to the caller.

    `by` decided, for `reason`, with the command at the coordinates `decision`.
    """
    hold = state.hold
    if hold is None:
        return state
    past = PastWait("hold", hold.reason, hold.since, hold.until, state.t, outcome, by, reason, decision)
    without = replace(state, hold=None, waits=(*state.waits, past)[-MAX_WAITS:])
    return clock.disarm(clock.disarm(without, clock.HOLD), clock.REMIND)


def pause_over(state: JobState) -> JobState:
    """The state without its pause, if it has one; starting the clock is up to the caller."""
    pause = state.pause
    if pause is None:
        return state
    past = PastWait("pause", pause.reason, pause.since, pause.until, state.t)
    return clock.disarm(replace(state, pause=None, waits=(*state.waits, past)[-MAX_WAITS:]), clock.PAUSE)


def waits_over(state: JobState) -> JobState:
    """The state of a job that ends, without its hold or pause."""
    return pause_over(hold_over(state, "job_ended"))
