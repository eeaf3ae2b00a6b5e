"""The end of a job: built once, by the fact that decides it, and never changed."""

from __future__ import annotations

from dataclasses import replace

from eldermesh.contract.canonical import canonical_bytes
from eldermesh.contract.cloudevents import CANCELLED, COMPLETED, FAILED, REJECTED
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.times import format_time
from eldermesh.contract.topics import JOBS_DONE
from eldermesh.contract.vocabulary import EndStatus, ErrorType
from services.router.jobs.clock import stop_clock
from services.router.jobs.past_waits import waits_over
from services.router.jobs.state import JobState
from shared.facts.jobs import JobEnded
from shared.history.end import End, EndKind

EVENT_SOURCE = "eldermesh/router"

_EVENT_TYPES: dict[EndStatus, str] = {
    "completed": COMPLETED,
    "failed": FAILED,
    "cancelled": CANCELLED,
    "rejected": REJECTED,
}
_MICROS = 1_000_000

END_KIND = EndKind(JOBS_DONE, EVENT_SOURCE, JobEnded)


def ended(
    state: JobState, status: EndStatus, error_type: ErrorType | None = None, reason: str | None = None
) -> JobState:
    """The state with its end, decided now (`state.t`), and without what only a live job needs."""
    acceptance, terms = state.acceptance, state.terms
    if acceptance is None or terms is None:
        message = f"job {state.job_id} was never accepted"
        raise ValueError(message)
    state = waits_over(stop_clock(state))
    not_run = None if state.items_total is None else state.items_total - state.succeeded - state.failed
    end = JobEnd(
        job_id=state.job_id,
        status=status,
        tenant=terms.tenant,
        workload=terms.workload,
        labels=terms.labels,
        engine=state.engine,
        items_total=state.items_total,
        items_succeeded=state.succeeded,
        items_failed=state.failed,
        items_not_run=not_run,
        progress_records_total=state.sequence,
        error_type=error_type,
        reason=reason,
        accepted_at=format_time(acceptance.at),
        ended_at=format_time(state.t),
        active_seconds=state.active_ms / 1000,
        cost_usd=None if state.cost_micros is None else state.cost_micros / _MICROS,
        trace_id=acceptance.trace_id,
    )
    value = canonical_bytes(end.model_dump(mode="json")).decode()
    return _over(replace(state, end=End(status, _EVENT_TYPES[status], state.t, value)))


def marked(state: JobState, fact: JobEnded) -> JobState:
    """The state of a job whose end is published; without earlier facts the mark alone ends it."""
    return _over(waits_over(state).with_mark(fact))


def _over(state: JobState) -> JobState:
    """Drop what only a live job needs."""
    return replace(state, terms=None, plan=(), bitmap=b"", timers={}, armings={})
