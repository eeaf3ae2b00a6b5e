"""The pure fold of one job's facts, in log order: first in the log wins."""

from __future__ import annotations

import base64
from dataclasses import replace

from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.topics import JOBS_DEAD
from services.router.jobs import clock
from services.router.jobs.advice import advised, asked, with_annex, with_own_advice
from services.router.jobs.end import ended
from services.router.jobs.hold_events import with_hold_events
from services.router.jobs.holds import decided, denied, held
from services.router.jobs.pauses import interrupted, paused
from services.router.jobs.plan import first_plan, replaced_plan
from services.router.jobs.results import fold_results
from services.router.jobs.spec import job_spec
from services.router.jobs.state import Acceptance, End, JobState
from services.router.jobs.waits import pause_over, waits_over
from shared.facts.fact import TimerFired
from shared.facts.jobs import (
    ChunkInterrupted,
    ItemsCompleted,
    JobAccepted,
    JobAdvised,
    JobCancelRequested,
    JobDecided,
    JobEnded,
    JobFact,
    JobHeld,
    JobPaused,
    JobRefused,
    JobReplanned,
    JobRouted,
    decode_job_fact,
)
from shared.history.facts import FactRecord
from shared.history.fold_versions import FOLD_VERSIONS, fold_version_for
from shared.history.machine import Folded, Publication

STUB_MS = 24 * 3600 * 1000
"""How long a cancel waits for its submit, by fact times."""

_END_STATUS = {"completed": "completed", "failed": "failed", "cancelled": "cancelled", "rejected": "rejected"}


def fold_job(state: JobState | None, record: FactRecord) -> Folded[JobState]:
    """Fold one fact into its job's state, by the version that the job was accepted under.

    Of a job whose version this release does not have nothing is known but that it is there (`fold_version_for`).

    Raises:
        UnreadableFactError: the record is no fact of this history.
    """
    if state is None:
        now = JobState(record.key, t=record.time_ms, first_offset=record.offset, last_offset=record.offset)
    else:
        now = replace(state, t=max(state.t, record.time_ms), last_offset=record.offset)
    is_made = now.acceptance is not None or now.end is not None
    version = fold_version_for(now.fold_version, record, maker=None if is_made else JobAccepted.fact_type)
    if version not in FOLD_VERSIONS:
        return Folded(replace(now, fold_version=version))
    fact = decode_job_fact(record.fact_type, record.value)
    if state is None:
        return _first(now, fact)
    return with_annex(state, with_hold_events(state, _next(now, record, fact)))


def _next(state: JobState, record: FactRecord, fact: JobFact) -> Folded[JobState]:
    match fact:
        case JobAccepted():
            return _accepted(state, record, fact)
        case ItemsCompleted():
            return fold_results(state, fact)
        case JobDecided():
            return decided(state, record, fact)
        case JobEnded():
            return Folded(_marked(state, fact))
        case JobCancelRequested() if state.acceptance is None and state.end is None:
            return Folded(replace(state, stub_at=state.t, stub_reason=fact.reason))
    if not state.is_live:
        return Folded(state)
    return Folded(_live(state, record, fact))


def _first(empty: JobState, fact: JobFact) -> Folded[JobState]:
    match fact:
        case JobAccepted():
            return _created(empty, fact)
        case JobCancelRequested():
            return Folded(replace(empty, stub_at=empty.t, stub_reason=fact.reason))
        case JobEnded():
            return Folded(_marked(empty, fact))
    return Folded(None)


def _created(state: JobState, fact: JobAccepted) -> Folded[JobState]:
    inbox = fact.inbox.coordinates
    state = replace(
        state,
        acceptance=Acceptance(fact.content_hash, state.t, inbox, fact.trace_id, fact.traceparent, fact.tracestate),
        fold_version=fact.fold_version,
        terms=fact.terms,
        items_total=fact.items_total,
        submitted_at=fact.submitted_at,
        stub_at=None,
        stub_reason=None,
    )
    state = clock.start_clock(clock.arm(state, clock.EXPIRES, state.t + fact.terms.expires_after_ms))
    return Folded(asked(state, fact.terms), spec=job_spec(fact))


def _accepted(state: JobState, record: FactRecord, fact: JobAccepted) -> Folded[JobState]:
    if state.acceptance is not None:
        same = fact.inbox.coordinates == state.acceptance.inbox or fact.content_hash == state.acceptance.content_hash
        state = replace(state, accepted_since=state.marked)
        return Folded(state) if same else Folded(state, conflict=_conflict(record, fact))
    stub_at, reason = state.stub_at, state.stub_reason
    created = _created(state, fact)
    if created.state is None or stub_at is None or state.t - stub_at > STUB_MS:
        return created
    return Folded(ended(created.state, "cancelled", "cancelled", reason))


def _conflict(record: FactRecord, fact: JobAccepted) -> Publication:
    headers = DeadLetterHeaders(
        topic=fact.inbox.topic,
        partition=fact.inbox.partition,
        offset=fact.inbox.offset,
        error_type="conflict",
        reason=f"job {record.key} exists already with other content",
        key=None if fact.inbox_key_base64 is None else base64.b64decode(fact.inbox_key_base64),
    ).encode((name, base64.b64decode(value)) for name, value in fact.inbox_headers_base64)
    return Publication(JOBS_DEAD, record.key, fact.original.encode(), headers)


def _marked(state: JobState, fact: JobEnded) -> JobState:
    if state.end is not None:
        return replace(state, marked=True, accepted_since=False)
    # The facts that led here are gone (or were never folded by this release): the fact itself ends the job.
    status = fact.event_type.split(".")[2]
    acceptance = state.acceptance or Acceptance(
        fact.content_hash, fact.ended_at, "", fact.traceparent[3:35], fact.traceparent, fact.tracestate
    )
    return replace(
        waits_over(state),
        acceptance=acceptance,
        end=End(_END_STATUS[status], fact.event_type, fact.ended_at, fact.end),  # type: ignore[arg-type]
        marked=True,
        terms=None,
        stub_at=None,
        plan=(),
        bitmap=b"",
        timers={},
        armings={},
    )


def _live(state: JobState, record: FactRecord, fact: JobFact) -> JobState:
    match fact:
        case JobCancelRequested():
            return ended(state, "cancelled", "cancelled", fact.reason)
        case JobAdvised():
            return advised(state, fact)
        case JobRouted() | JobReplanned() | JobRefused() | JobHeld():
            return _decision(state, fact) if fact.n == state.decisions else state
        case JobPaused() if state.is_made_of(fact.content_hash):
            return paused(state, fact)
        case ChunkInterrupted() if state.is_made_of(fact.content_hash):
            return interrupted(state, fact)
        case TimerFired():
            return _timer_fired(state, record, fact)
    return state


def _decision(state: JobState, fact: JobRouted | JobReplanned | JobRefused | JobHeld) -> JobState:
    counted = replace(with_own_advice(state, fact), decisions=state.decisions + 1)
    routed = state.engine is not None
    match fact:
        case JobReplanned() if routed and fact.epoch == state.epoch + 1:
            return replace(counted, epoch=fact.epoch, plan=replaced_plan(state, fact))
        case JobRouted() if not routed and state.hold is None and state.items_total is not None:
            epoch = state.epoch + 1
            plan = first_plan(state.items_total, fact.chunk_items, epoch, state.bitmap)
            return replace(counted, engine=fact.engine, epoch=epoch, plan=plan)
        case JobRefused() if not routed:
            return ended(counted, "rejected", fact.error_type, fact.reason)
        case JobHeld() if not routed and state.hold is None:
            return held(counted, fact)
    return state


def _timer_fired(state: JobState, record: FactRecord, fact: TimerFired) -> JobState:
    name, _, arming = fact.timer_id.removeprefix(f"{state.job_id}:").rpartition(":")
    timer = state.timers.get(name)
    if timer is None or arming != str(timer.arming) or record.time_ms < timer.due:
        return state
    match name:
        case clock.ACTIVE:
            return ended(state, "failed", "timeout", "active_timeout_seconds is over")
        case clock.EXPIRES:
            return ended(state, "failed", "expired", "the job did not end within its time")
        case clock.HOLD:
            return denied(state)
        case clock.ADVISE | clock.REMIND:
            return clock.disarm(state, name)
        case clock.PAUSE:
            return clock.start_clock(pause_over(state))
    return state
