"""The pure fold of one request's facts, in log order: first in the log wins."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import cast

from eldermesh.contract.claude_output import ClaudeEndStatus
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.topics import JOBS_DEAD
from services.claude_exec.requests.end import answered, cancelled, expired
from services.claude_exec.requests.spec import request_spec
from services.claude_exec.requests.state import Acceptance, End, RequestState
from shared.facts.claude import (
    ClaudeAccepted,
    ClaudeAnswered,
    ClaudeCancelRequested,
    ClaudeEnded,
    ClaudeFact,
    ClaudeInterrupted,
    ClaudeReplanned,
    decode_claude_fact,
)
from shared.facts.fact import TimerFired
from shared.history.facts import FactRecord
from shared.history.fold_versions import FOLD_VERSIONS, fold_version_for
from shared.history.machine import Folded, Publication

STUB_MS = 24 * 3600 * 1000
"""How long a cancel waits for its request, by fact times."""


def fold_request(state: RequestState | None, record: FactRecord) -> Folded[RequestState]:
    """Fold one fact into its request's state, by the version that the request was accepted under.

    Of a request whose version this release does not have nothing is known but that it is there (`fold_version_for`).

    Raises:
        UnreadableFactError: the record is no fact of this history.
    """
    if state is None:
        now = RequestState(record.key, t=record.time_ms, first_offset=record.offset, last_offset=record.offset)
    else:
        now = replace(state, t=max(state.t, record.time_ms), last_offset=record.offset)
    is_made = now.acceptance is not None or now.end is not None
    version = fold_version_for(now.fold_version, record, maker=None if is_made else ClaudeAccepted.fact_type)
    if version not in FOLD_VERSIONS:
        return Folded(replace(now, fold_version=version))
    fact = decode_claude_fact(record.fact_type, record.value)
    return _first(now, fact) if state is None else _next(now, record, fact)


def _next(state: RequestState, record: FactRecord, fact: ClaudeFact) -> Folded[RequestState]:
    match fact:
        case ClaudeAccepted():
            return _accepted(state, record, fact)
        case ClaudeEnded():
            return Folded(_marked(state, fact))
        case ClaudeCancelRequested() if state.acceptance is None and state.end is None:
            return Folded(replace(state, stub_at=state.t, stub_reason=fact.reason))
    return Folded(_live(state, record, fact) if state.is_live else state)


def _first(empty: RequestState, fact: ClaudeFact) -> Folded[RequestState]:
    match fact:
        case ClaudeAccepted():
            return _created(empty, fact)
        case ClaudeCancelRequested():
            return Folded(replace(empty, stub_at=empty.t, stub_reason=fact.reason))
        case ClaudeEnded():
            return Folded(_marked(empty, fact))
    return Folded(None)


def _created(state: RequestState, fact: ClaudeAccepted) -> Folded[RequestState]:
    inbox = fact.inbox.coordinates
    created = replace(
        state,
        acceptance=Acceptance(fact.content_hash, state.t, inbox, fact.trace_id, fact.traceparent, fact.tracestate),
        fold_version=fact.fold_version,
        terms=fact.terms,
        submitted_at=fact.submitted_at,
        stub_at=None,
        stub_reason=None,
        epoch=1,
        expires_at=state.t + fact.terms.expires_after_ms,
    )
    return Folded(created, spec=request_spec(fact))


def _accepted(state: RequestState, record: FactRecord, fact: ClaudeAccepted) -> Folded[RequestState]:
    if state.acceptance is not None:
        same = fact.inbox.coordinates == state.acceptance.inbox or fact.content_hash == state.acceptance.content_hash
        state = replace(state, accepted_since=state.marked)
        return Folded(state) if same else Folded(state, conflict=_conflict(record, fact))
    stub_at, reason = state.stub_at, state.stub_reason
    created = _created(state, fact)
    if created.state is None or stub_at is None or state.t - stub_at > STUB_MS:
        return created
    return Folded(cancelled(created.state, reason))


def _conflict(record: FactRecord, fact: ClaudeAccepted) -> Publication:
    headers = DeadLetterHeaders(
        topic=fact.inbox.topic,
        partition=fact.inbox.partition,
        offset=fact.inbox.offset,
        error_type="conflict",
        reason=f"request {record.key} exists already with other content",
        key=None if fact.inbox_key_base64 is None else base64.b64decode(fact.inbox_key_base64),
    ).encode((name, base64.b64decode(value)) for name, value in fact.inbox_headers_base64)
    return Publication(JOBS_DEAD, record.key, fact.original.encode(), headers)


def _marked(state: RequestState, fact: ClaudeEnded) -> RequestState:
    if state.end is not None:
        return replace(state, marked=True, accepted_since=False)
    # The facts that led here are gone (or were never folded by this release): the fact itself ends the request.
    status = cast("ClaudeEndStatus", fact.event_type.split(".")[2])
    acceptance = state.acceptance or Acceptance(
        fact.content_hash, fact.ended_at, "", fact.traceparent[3:35], fact.traceparent, fact.tracestate
    )
    return replace(
        state,
        acceptance=acceptance,
        end=End(status, fact.event_type, fact.ended_at, fact.end),
        marked=True,
        terms=None,
        stub_at=None,
        stub_reason=None,
        expires_at=None,
    )


def _is_of(state: RequestState, fact: ClaudeAnswered | ClaudeInterrupted) -> bool:
    """Whether this counts: what is said of another request of the same id does not, nor a late word of the owner's."""
    asked = None if state.acceptance is None else state.acceptance.content_hash
    if fact.content_hash not in (None, asked):
        return False
    return fact.epoch == state.epoch or (isinstance(fact, ClaudeAnswered) and not fact.only_if_current)


def _live(state: RequestState, record: FactRecord, fact: ClaudeFact) -> RequestState:
    match fact:
        case ClaudeAnswered() if _is_of(state, fact):
            # Of whatever epoch: the first outcome of a run counts.
            return answered(state, fact)
        case ClaudeCancelRequested():
            return cancelled(state, fact.reason)
        case ClaudeReplanned() if fact.epoch == state.epoch + 1:
            return replace(state, epoch=fact.epoch, deaths=fact.deaths)
        case ClaudeInterrupted() if _is_of(state, fact):
            return replace(state, epoch=fact.epoch + 1)
        case TimerFired() if fact.timer_id == state.timer_id:
            # A record time before the due time is void; the owner asks again.
            return expired(state) if state.expires_at is not None and record.time_ms >= state.expires_at else state
    return state
