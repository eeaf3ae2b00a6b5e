"""Events for `jobs.holds`: a function of the states before and after a fact, so that repeats are equal."""

from __future__ import annotations

from dataclasses import replace

from eldermesh.contract.canonical import canonical_bytes
from eldermesh.contract.cloudevents import HELD, HOLD_ENDED, HOLD_REMINDER, binary_headers
from eldermesh.contract.holds import JobHold, hold_event_id
from eldermesh.contract.times import format_time
from eldermesh.contract.topics import JOBS_HOLDS
from services.router.jobs import clock
from services.router.jobs.end import EVENT_SOURCE
from services.router.jobs.state import JobState, PastWait, Wait
from shared.facts.jobs import JobTerms
from shared.history.acceptance import Acceptance
from shared.history.machine import Folded, Publication


def with_hold_events(before: JobState, folded: Folded[JobState]) -> Folded[JobState]:
    """The fold's result, with the event that it calls for on `jobs.holds`, if any."""
    after = folded.state
    if after is None or (before.hold is None and after.hold is None):
        return folded
    event = _event(before, after)
    return folded if event is None else replace(folded, announcements=(event,))


def _event(before: JobState, after: JobState) -> Publication | None:
    acceptance, terms = after.acceptance, before.terms
    if acceptance is None or terms is None:
        return None
    if before.hold is None and after.hold is not None:
        return _publication(after, acceptance, terms, after.hold, HELD)
    if before.hold is not None and after.hold is None:
        past = next((wait for wait in reversed(after.waits) if wait.kind == "hold"), None)
        # An end drops the armings, so the number of the hold is taken from the state before.
        counted = replace(after, armings=before.armings)
        return _publication(counted, acceptance, terms, before.hold, HOLD_ENDED, past)
    if clock.REMIND in before.timers and clock.REMIND not in after.timers and after.hold is not None:
        return _publication(after, acceptance, terms, after.hold, HOLD_REMINDER)
    return None


def _publication(
    state: JobState, acceptance: Acceptance, terms: JobTerms, hold: Wait, event_type: str, past: PastWait | None = None
) -> Publication:
    number = state.armings[clock.HOLD]
    event = JobHold(
        job_id=state.job_id,
        hold=number,
        tenant=terms.tenant,
        workload=terms.workload,
        labels=terms.labels,
        submitted_by=terms.submitted_by,
        reason=hold.reason,
        held_at=format_time(hold.since),
        until=format_time(hold.until),
        recorded_at=format_time(state.t),
        outcome=None if past is None else past.outcome,
        by=None if past is None else past.by,
        decision_reason=None if past is None else past.decision_reason,
        trace_id=acceptance.trace_id,
    )
    part = {HELD: None, HOLD_REMINDER: "reminder", HOLD_ENDED: "ended"}[event_type]
    headers = binary_headers(
        event_id=hold_event_id(state.job_id, number, part),  # type: ignore[arg-type]  # one of its literals
        event_type=event_type,
        source=EVENT_SOURCE,
        subject=state.job_id,
        time_ms=state.t,
        traceparent=acceptance.traceparent,
        tracestate=acceptance.tracestate,
    )
    return Publication(JOBS_HOLDS, state.job_id, canonical_bytes(event.model_dump(mode="json")), headers)
