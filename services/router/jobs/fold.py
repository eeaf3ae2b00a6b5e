"""The pure fold of one job's facts, in log order: first in the log wins."""

from __future__ import annotations

from dataclasses import replace

from services.router.jobs import clock
from services.router.jobs.advice import advised, asked, with_annex, with_own_advice
from services.router.jobs.end import ended, marked
from services.router.jobs.hold_publications import with_hold_events
from services.router.jobs.holds import decided, denied, held
from services.router.jobs.past_waits import pause_over
from services.router.jobs.pauses import interrupted, paused
from services.router.jobs.plan import first_plan
from services.router.jobs.results import fold_results
from services.router.jobs.retries import replaced_plan
from services.router.jobs.spec_writer import job_spec
from services.router.jobs.state import JobState
from services.router.jobs.tenant_cancels import cancelled_by_tenant, first_cancel
from shared.facts.fact import AcceptedFact, CancelRequested, EndedFact, TimerFired
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
    JobTenantCancelRequested,
    decode_job_fact,
)
from shared.history.facts import FactRecord
from shared.history.fold_versions import FOLD_VERSIONS, fold_version_for
from shared.history.machine import Folded


def fold_job(state: JobState | None, record: FactRecord) -> Folded[JobState]:
    """Fold one fact into its job's state, by the version that the job was accepted under.

    If this release does not have that version, only the existence of the job is known (`fold_version_for`).

    Raises:
        UnreadableFactError: the record is not a fact of this history.
    """
    if state is None:
        now = JobState(record.key, t=record.time_ms, first_offset=record.offset, last_offset=record.offset)
    else:
        now = state.at(record)
    version = fold_version_for(now.fold_version, record, maker=None if now.is_made else JobAccepted.fact_type)
    if version not in FOLD_VERSIONS:
        return Folded(replace(now, fold_version=version))
    fact = decode_job_fact(record.fact_type, record.value)
    if state is None:
        is_first = isinstance(fact, AcceptedFact | CancelRequested | JobTenantCancelRequested | EndedFact)
        return _next(now, record, fact) if is_first else Folded(None)
    return with_annex(state, with_hold_events(state, _next(now, record, fact)))


def _next(state: JobState, record: FactRecord, fact: JobFact) -> Folded[JobState]:
    match fact:
        case JobAccepted():
            return _accepted(state, fact)
        case ItemsCompleted():
            return fold_results(state, fact)
        case JobDecided():
            return decided(state, fact)
        case JobEnded():
            return Folded(marked(state, fact))
        case JobCancelRequested() if not state.is_made:
            return Folded(state.cancelled_first(fact))
        case JobTenantCancelRequested():
            return cancelled_by_tenant(state, fact)
    if not state.is_live:
        return Folded(state)
    return Folded(_live(state, record, fact))


def _accepted(state: JobState, fact: JobAccepted) -> Folded[JobState]:
    if state.acceptance is not None:
        return state.accepted_again(state.acceptance, fact, noun="job")
    made = replace(state.accepted(fact), terms=fact.terms, items_total=fact.items_total, tenant_stubs={})
    made = clock.start_clock(clock.arm(made, clock.EXPIRES, state.t + fact.terms.expires_after_ms))
    made = asked(made, fact.terms)
    if state.is_cancelled_first:
        return Folded(ended(made, "cancelled", "cancelled", state.stub_reason))
    stub = first_cancel(state, fact.terms.tenant)
    if stub is not None:
        return Folded(ended(made, "cancelled", "cancelled", stub.reason))
    return Folded(made, spec=job_spec(fact))


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
