"""Timers, and the job's clock of active time: holds and pauses stop it, but not the `expires` timer."""

from __future__ import annotations

from dataclasses import replace

from services.router.jobs.state import JobState, Timer

ACTIVE = "active"
ADVISE = "advise"
EXPIRES = "expires"
HOLD = "hold"
REMIND = "remind"
PAUSE = "pause"


def arm(state: JobState, name: str, due: int) -> JobState:
    """Arm a timer; an earlier arming of the same name no longer counts."""
    arming = state.armings.get(name, 0) + 1
    return replace(
        state,
        timers={**state.timers, name: Timer(arming, due)},
        armings={**state.armings, name: arming},
    )


def disarm(state: JobState, name: str) -> JobState:
    """Remove a timer."""
    if name not in state.timers:
        return state
    return replace(state, timers={other: timer for other, timer in state.timers.items() if other != name})


def timer_id(state: JobState, name: str) -> str:
    """Identity of an armed timer: `{job_id}:{name}:{arming}`."""
    return f"{state.job_id}:{name}:{state.timers[name].arming}"


def start_clock(state: JobState) -> JobState:
    """Begin an active interval, unless the job is held or paused."""
    if state.active_since is not None or state.hold is not None or state.pause is not None or state.terms is None:
        return state
    state = replace(state, active_since=state.t)
    if state.terms is not None and state.terms.active_timeout_ms is not None:
        state = arm(state, ACTIVE, state.t + max(0, state.terms.active_timeout_ms - state.active_ms))
    return state


def stop_clock(state: JobState) -> JobState:
    """End an active interval."""
    if state.active_since is None:
        return state
    active = state.active_ms + state.t - state.active_since
    return disarm(replace(state, active_ms=active, active_since=None), ACTIVE)
