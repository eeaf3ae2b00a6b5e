"""The pure fold of one request's facts, in log order: first in the log wins."""

from __future__ import annotations

from dataclasses import replace

from services.claude_exec.requests.end import answered, cancelled, expired, marked
from services.claude_exec.requests.spec import request_spec
from services.claude_exec.requests.state import RequestState
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
from shared.facts.fact import AcceptedFact, CancelRequested, EndedFact, TimerFired
from shared.history.facts import FactRecord
from shared.history.fold_versions import FOLD_VERSIONS, fold_version_for
from shared.history.machine import Folded


def fold_request(state: RequestState | None, record: FactRecord) -> Folded[RequestState]:
    """Fold one fact into its request's state, by the fold version of the request.

    Of a request with a version that this release does not have, only its existence is known (`fold_version_for`).

    Raises:
        UnreadableFactError: the record is not a fact of this history.
    """
    if state is None:
        now = RequestState(record.key, t=record.time_ms, first_offset=record.offset, last_offset=record.offset)
    else:
        now = state.at(record)
    version = fold_version_for(now.fold_version, record, maker=None if now.is_made else ClaudeAccepted.fact_type)
    if version not in FOLD_VERSIONS:
        return Folded(replace(now, fold_version=version))
    fact = decode_claude_fact(record.fact_type, record.value)
    if state is None and not isinstance(fact, AcceptedFact | CancelRequested | EndedFact):
        return Folded(None)
    return _next(now, record, fact)


def _next(state: RequestState, record: FactRecord, fact: ClaudeFact) -> Folded[RequestState]:
    match fact:
        case ClaudeAccepted():
            return _accepted(state, fact)
        case ClaudeEnded():
            return Folded(marked(state, fact))
        case ClaudeCancelRequested() if not state.is_made:
            return Folded(state.cancelled_first(fact))
    return Folded(_live(state, record, fact) if state.is_live else state)


def _accepted(state: RequestState, fact: ClaudeAccepted) -> Folded[RequestState]:
    if state.acceptance is not None:
        return state.accepted_again(state.acceptance, fact, noun="request")
    made = replace(state.accepted(fact), terms=fact.terms, epoch=1, expires_at=state.t + fact.terms.expires_after_ms)
    if state.is_cancelled_first:
        return Folded(cancelled(made, state.stub_reason))
    return Folded(made, spec=request_spec(fact))


def _is_of(state: RequestState, fact: ClaudeAnswered | ClaudeInterrupted) -> bool:
    """Whether the fact counts: not if it is about another request with the same id, or a late fact of the owner."""
    if not state.is_made_of(fact.content_hash):
        return False
    return fact.epoch == state.epoch or (isinstance(fact, ClaudeAnswered) and not fact.only_if_current)


def _live(state: RequestState, record: FactRecord, fact: ClaudeFact) -> RequestState:
    match fact:
        case ClaudeAnswered() if _is_of(state, fact):
            # Of any epoch: the first outcome of a run counts.
            return answered(state, fact)
        case ClaudeCancelRequested():
            return cancelled(state, fact.reason)
        case ClaudeReplanned() if fact.epoch == state.epoch + 1:
            return replace(state, epoch=fact.epoch, deaths=fact.deaths)
        case ClaudeInterrupted() if _is_of(state, fact):
            return replace(state, epoch=fact.epoch + 1)
        case TimerFired() if fact.timer_id == state.timer_id:
            # A record time before the due time does not count; the owner appends the fact again.
            return expired(state) if state.expires_at is not None and record.time_ms >= state.expires_at else state
    return state
