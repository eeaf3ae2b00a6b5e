"""The end of a request: built once, from the fact that decides it, and never changed."""

from __future__ import annotations

from dataclasses import replace

from eldermesh.contract.canonical import canonical_bytes
from eldermesh.contract.claude_output import ClaudeEnd, ClaudeEndStatus, OutcomeClass
from eldermesh.contract.cloudevents import CLAUDE_CANCELLED, CLAUDE_COMPLETED, CLAUDE_FAILED
from eldermesh.contract.times import format_time
from eldermesh.contract.topics import CLAUDE_OUTPUT
from services.claude_exec.requests.state import RequestState
from shared.facts.claude import ClaudeAnswered, ClaudeEnded
from shared.history.end import End, EndKind

EVENT_SOURCE = "eldermesh/claude_exec"

_EVENT_TYPES: dict[ClaudeEndStatus, str] = {
    "completed": CLAUDE_COMPLETED,
    "failed": CLAUDE_FAILED,
    "cancelled": CLAUDE_CANCELLED,
}
_MICROS = 1_000_000

END_KIND = EndKind(CLAUDE_OUTPUT, EVENT_SOURCE, ClaudeEnded)


def answered(state: RequestState, fact: ClaudeAnswered) -> RequestState:
    """The state, ended by a run's outcome."""
    return _ended(state, "completed" if fact.outcome == "ok" else "failed", fact.outcome, fact, reason=fact.message)


def cancelled(state: RequestState, reason: str | None) -> RequestState:
    """The state, ended by a cancel."""
    return _ended(state, "cancelled", "cancelled", None, reason=reason)


def expired(state: RequestState) -> RequestState:
    """The state, ended because its time is over."""
    return _ended(state, "failed", "expired", None, reason="the request did not end within its time")


def _ended(
    state: RequestState,
    status: ClaudeEndStatus,
    outcome: OutcomeClass,
    answer: ClaudeAnswered | None,
    *,
    reason: str | None,
) -> RequestState:
    acceptance, terms = state.acceptance, state.terms
    if acceptance is None or terms is None:
        raise ValueError(f"request {state.request_id} was never accepted")
    without_run = None if status == "completed" else "cancelled" if status == "cancelled" else "expired"
    end = ClaudeEnd(
        request_id=state.request_id,
        status=status,
        outcome=outcome,
        tenant=terms.tenant,
        labels=terms.labels,
        result=None if answer is None else answer.result,
        result_url=None if answer is None else answer.result_url,
        error_type=without_run if answer is None else answer.error_type,  # type: ignore[arg-type]  # both are words of it
        reason=reason,
        model=None if answer is None else answer.model,
        turns=None if answer is None else answer.turns,
        usage=None if answer is None else answer.usage,
        cost_usd=None if answer is None or answer.cost_micros is None else answer.cost_micros / _MICROS,
        attempt=None if answer is None else answer.epoch,
        output_records_total=None if answer is None else answer.output_records,
        accepted_at=format_time(acceptance.at),
        ended_at=format_time(state.t),
        run_seconds=None if answer is None or answer.run_ms is None else answer.run_ms / 1000,
        trace_id=acceptance.trace_id,
    )
    value = canonical_bytes(end.model_dump(mode="json")).decode()
    return _over(replace(state, end=End(status, _EVENT_TYPES[status], state.t, value)))


def marked(state: RequestState, fact: ClaudeEnded) -> RequestState:
    """The state with a published end; if the facts before are gone, the mark alone ends the request."""
    return _over(state.with_mark(fact))


def _over(state: RequestState) -> RequestState:
    """The state without what only a live request needs."""
    return replace(state, terms=None, expires_at=None)
