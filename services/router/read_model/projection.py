"""Turns the state of a job into the plain values of the read model."""

from __future__ import annotations

from eldermesh.contract.ends import JobEnd
from services.router.jobs import clock
from services.router.jobs.state import JobState
from services.router.read_model.job import Job, JobHold, JobStateWord, JobSummary, JobWaitWord

_MICROS = 1_000_000


def state_word(state: JobState, *, is_running: bool) -> JobStateWord:
    """The state of an accepted job; `is_running` says whether a runner holds items of it."""
    if state.end is not None:
        return state.end.status
    if state.hold is not None:
        return "held"
    if state.pause is not None:
        return "paused"
    return "running" if is_running or state.sequence else "accepted"


def summary_of(state: JobState, accepted_at: int, *, is_running: bool) -> JobSummary:
    """An accepted job for a list."""
    end = _end_of(state)
    # The terms of an ended job are in its end.
    about = end if end is not None else state.terms
    return JobSummary(
        job_id=state.job_id,
        state=state_word(state, is_running=is_running),
        tenant=None if about is None else about.tenant,
        workload=None if about is None else about.workload,
        labels={} if about is None else dict(about.labels),
        engine=state.engine if end is None else end.engine,
        items_total=state.items_total if end is None else end.items_total,
        items_ended=state.succeeded + state.failed if end is None else end.items_succeeded + end.items_failed,
        accepted_at=accepted_at,
        end=end,
    )


def job_of(state: JobState, accepted_at: int, trace_id: str, *, items_running: int, trouble: str | None) -> Job:
    """An accepted job; `trouble` is what its owner reported."""
    end = _end_of(state)
    waiting_for, waiting_until = _waiting(state, items_running)
    wait = state.hold or state.pause
    reason = trouble if wait is None else wait.reason or trouble
    cost_usd = None if state.cost_micros is None else state.cost_micros / _MICROS
    return Job(
        job_id=state.job_id,
        state=state_word(state, is_running=items_running > 0),
        waiting_for=waiting_for,
        waiting_until=waiting_until,
        engine=state.engine if end is None else end.engine,
        items_total=state.items_total if end is None else end.items_total,
        items_succeeded=state.succeeded if end is None else end.items_succeeded,
        items_failed=state.failed if end is None else end.items_failed,
        items_running=items_running,
        accepted_at=accepted_at,
        cost_usd=cost_usd if end is None else end.cost_usd,
        advice=state.advice,
        reason=reason if end is None else end.reason,
        holds=holds_of(state),
        submitted_by=None if state.terms is None else state.terms.submitted_by,
        tenant=None if state.terms is None else state.terms.tenant,
        trace_id=trace_id,
        end=end,
    )


def holds_of(state: JobState) -> tuple[JobHold, ...]:
    """The remembered holds of a job, oldest first."""
    past = tuple(
        JobHold(wait.reason, wait.since, wait.until, wait.ended_at, wait.outcome, wait.by, wait.decision_reason)
        for wait in state.waits
        if wait.kind == "hold"
    )
    return past if state.hold is None else (*past, JobHold(state.hold.reason, state.hold.since, state.hold.until))


def _end_of(state: JobState) -> JobEnd | None:
    return None if state.end is None else JobEnd.model_validate_json(state.end.value)


def _waiting(state: JobState, items_running: int) -> tuple[JobWaitWord | None, int | None]:
    if state.end is not None:
        return None, None
    if state.hold is not None:
        return "decision", state.hold.until
    if state.pause is not None:
        return "quota", state.pause.until
    if clock.ADVISE in state.timers:
        return "advice", state.timers[clock.ADVISE].due
    if state.engine is None:
        return "routing", None
    return (None if items_running else "engine"), None
