"""The pure fold of one notification's facts, in log order: first in the log wins."""

from __future__ import annotations

from dataclasses import replace

from services.notifier.notifications.state import End, NotificationState
from shared.facts.fact import TimerFired
from shared.facts.notifications import (
    NotificationEnded,
    NotificationFact,
    NotificationFailed,
    NotificationInterrupted,
    NotificationPlanned,
    NotificationPostponed,
    NotificationReplanned,
    NotificationSending,
    NotificationSent,
    NotificationStatus,
    decode_notification_fact,
)
from shared.history.facts import FactRecord
from shared.history.fold_versions import FOLD_VERSIONS, fold_version_for


def fold_notification(state: NotificationState | None, record: FactRecord) -> NotificationState | None:
    """Fold one fact into its notification's state, by the fold version of the notification.

    Of one with a version that this release does not have, only its existence is known (`fold_version_for`).

    Raises:
        UnreadableFactError: the record is not a fact of this history.
    """
    if state is None:
        now = NotificationState(record.key, t=record.time_ms, first_offset=record.offset, last_offset=record.offset)
    else:
        now = state.at(record)
    maker = NotificationPlanned.fact_type if state is None else None
    version = fold_version_for(now.fold_version, record, maker=maker)
    if version not in FOLD_VERSIONS:
        return replace(now, fold_version=version)
    fact = decode_notification_fact(record.fact_type, record.value)
    return _first(now, fact) if state is None else _next(now, record, fact)


def _next(state: NotificationState, record: FactRecord, fact: NotificationFact) -> NotificationState:
    match fact:
        case NotificationEnded():
            return _marked(state, fact)
        case NotificationPlanned():
            return replace(state, planned_since=state.marked)
    return _live(state, record, fact) if state.is_live else state


def _first(empty: NotificationState, fact: NotificationFact) -> NotificationState | None:
    match fact:
        case NotificationPlanned():
            return replace(empty, fold_version=fact.fold_version, planned=fact, planned_at=empty.t)
        case NotificationEnded():
            return _marked(empty, fact)
    return None


def _marked(state: NotificationState, fact: NotificationEnded) -> NotificationState:
    # If the facts before the mark are gone, the mark itself ends the notification.
    end = state.end or End(fact.status, fact.ended_at, fact.reason)
    return replace(state, end=end, marked=True, planned_since=False, planned=None, resume_at=None)


def _ended(state: NotificationState, status: NotificationStatus, reason: str | None) -> NotificationState:
    ended = replace(state, end=End(status, state.t, reason), resume_at=None)
    # Nothing is published for a sent message, so it counts as marked at once.
    return replace(ended, marked=True, planned=None) if status == "sent" else ended


def _live(state: NotificationState, record: FactRecord, fact: NotificationFact) -> NotificationState:
    match fact:
        case NotificationSent():  # of any epoch: the message was sent
            return _ended(replace(state, attempts=max(state.attempts, fact.attempt)), "sent", fact.detail)
        case NotificationFailed() if fact.only_epoch in (None, state.epoch):
            return _ended(state, "failed", fact.reason)
        case NotificationSending() if fact.epoch == state.epoch:
            return replace(state, attempts=max(state.attempts, fact.attempt))
        case NotificationPostponed() if fact.epoch == state.epoch:
            return _postponed(state, fact)
        case NotificationInterrupted() if fact.epoch == state.epoch:
            return replace(state, epoch=fact.epoch + 1)
        case NotificationReplanned() if fact.epoch == state.epoch + 1:
            return replace(state, epoch=fact.epoch, deaths=fact.deaths)
        case TimerFired():
            return _fired(state, record, fact)
    return state


def _postponed(state: NotificationState, fact: NotificationPostponed) -> NotificationState:
    attempts = max(state.attempts, fact.attempt)
    state = replace(state, attempts=attempts, epoch=fact.epoch + 1, deaths=0)
    if state.planned is not None and attempts >= state.planned.max_attempts:
        # Also "1 attempts": what a fold makes of a fact must never change.
        return _ended(state, "failed", f"given up after {attempts} attempts: {fact.reason}")
    return replace(state, resume_at=fact.until, arming=state.arming + 1)


def _fired(state: NotificationState, record: FactRecord, fact: TimerFired) -> NotificationState:
    # A record time before the due time does not count; the owner appends the fact again.
    planned = state.planned
    if fact.timer_id == state.expires_timer and planned is not None and record.time_ms >= planned.expires_at:
        return _ended(state, "failed", "it could not be sent in time")
    if fact.timer_id == state.resume_timer and state.resume_at is not None and record.time_ms >= state.resume_at:
        return replace(state, resume_at=None)
    return state
