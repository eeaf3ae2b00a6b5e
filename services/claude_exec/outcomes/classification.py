"""A pure function from the evidence of a run to its outcome.

It looks at several signs: a CLI may exit with status 0 and subtype `success` and still set the error flag.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, replace
from typing import Final

from claude_agent_sdk import ResultMessage
from pydantic import JsonValue

from eldermesh.contract.claude_output import RunOutcome
from eldermesh.contract.vocabulary import ErrorType
from services.claude_exec.outcomes.evidence import Evidence
from services.claude_exec.outcomes.outcome import ERROR_TYPES, ClaudeOutcome, count_of, micros_of
from shared.processes.children import signal_name

_STDERR_CHARACTERS = 500
_TOO_MANY = 429
_AUTH = frozenset({401, 403})
_UNANSWERED: Final = range(500, 600)
_NAMES_THE_SCHEMA = re.compile(r"--json-schema|JSON schema", re.IGNORECASE)

_BY_REASON: Final[dict[str, RunOutcome]] = {
    "budget_exhausted": "budget",
    "error_max_budget_usd": "budget",
    "max_turns": "turns",
    "error_max_turns": "turns",
    "error_max_structured_output_retries": "invalid",
}
"""By `terminal_reason`, else by `subtype`."""

_BY_ERROR: Final[dict[str, RunOutcome]] = {
    "authentication_failed": "auth",
    "billing_error": "budget",
    "rate_limit": "rate_limited",
    "overloaded": "overloaded",
    "server_error": "overloaded",
}
"""By the CLI's name of a failed request, for requests without a status, such as a broken connection."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    outcome: RunOutcome
    message: str = ""
    error_type: ErrorType | None = None


def classify(evidence: Evidence, *, has_schema: bool) -> ClaudeOutcome:
    """The outcome of one run.

    Args:
        evidence: what the run left.
        has_schema: whether the output has to be an object of the job's schema.
    """
    result = evidence.result
    if result is None:
        verdict = _without_result(evidence, has_schema=has_schema)
    else:
        verdict = _of_result(result, evidence, has_schema=has_schema)
    is_ok = verdict.outcome == "ok"
    outcome = ClaudeOutcome(
        outcome=verdict.outcome,
        error_type=None if is_ok else verdict.error_type or ERROR_TYPES[verdict.outcome],
        message=verdict.message,
        model=evidence.model,
        exit_status=evidence.exit_status,
        api_status=evidence.waits_for or None,
        retry_after_seconds=evidence.retry_after_seconds,
    )
    if result is None:
        return outcome
    return replace(
        outcome,
        output=_output(result, has_schema=has_schema) if is_ok else None,
        cost_micros=micros_of(result.total_cost_usd),
        usage=result.usage if isinstance(result.usage, dict) else None,
        turns=count_of(result.num_turns),
        session_id=result.session_id,
        api_status=result.api_error_status,
    )


def _of_result(result: ResultMessage, evidence: Evidence, *, has_schema: bool) -> _Verdict:
    """A result decides, however the CLI ended after it."""
    message = "; ".join(map(str, result.errors or ())) or str(result.result or result.subtype)
    if result.stop_reason == "refusal":
        return _Verdict("refused", message)
    named = _BY_REASON.get(result.terminal_reason or "") or _BY_REASON.get(result.subtype)
    if named is not None:
        return _Verdict(named, message)
    if result.is_error or result.subtype != "success":
        return _failed_request(result, evidence, message)
    if has_schema and not isinstance(result.structured_output, dict):
        return _Verdict("invalid", "the model gave no object of the schema")
    return _Verdict("ok")


def _failed_request(result: ResultMessage, evidence: Evidence, message: str) -> _Verdict:
    status = result.api_error_status
    if status is not None:
        return _of_status(status, message)
    if evidence.error in _BY_ERROR:
        return _Verdict(_BY_ERROR[evidence.error], message)
    if result.terminal_reason == "api_error":  # an answer that cannot be read
        return _Verdict("overloaded", message)
    return _Verdict("crashed", message)


def _of_status(status: int, message: str) -> _Verdict:
    if status == _TOO_MANY:
        return _Verdict("rate_limited", message)
    if status in _AUTH:
        return _Verdict("auth", message)
    if status in _UNANSWERED:
        return _Verdict("overloaded", message)
    return _Verdict("invalid", message, "exception")  # the request itself: an unknown model, a prompt that is too long


def _without_result(evidence: Evidence, *, has_schema: bool) -> _Verdict:
    if evidence.killed:
        return _Verdict("cancelled", "killed")
    if evidence.timed_out:
        return _Verdict("timeout", evidence.stop_message)
    if has_schema and (evidence.exit_status or 0) > 0 and _NAMES_THE_SCHEMA.search(evidence.stderr_tail):
        # Another attempt would fail the same way: the request itself is wrong.
        return _Verdict("invalid", _death(evidence), "exception")
    return _of_stop(evidence)


def _of_stop(evidence: Evidence) -> _Verdict:
    match evidence.stopped:
        case "idle" if evidence.waits_for:  # not stuck: the API told it to wait for longer than it may be silent
            return _of_status(evidence.waits_for, f"{evidence.stop_message}: it waits to ask the API again")
        case "waits" if evidence.waits_for:
            return _of_status(evidence.waits_for, evidence.stop_message)
        case "idle":
            return _Verdict("idle", evidence.stop_message)
        case "output":
            return _Verdict("invalid", evidence.stop_message, "result_too_large")
        case "program":
            return _Verdict("crashed", f"no CLI could be started: {evidence.stop_message}", "internal")
        case _:
            return _Verdict("crashed", _death(evidence))


def _death(evidence: Evidence) -> str:
    """How a CLI without a result ended, in words."""
    status = evidence.exit_status
    if evidence.stopped == "start":
        how = evidence.stop_message
    elif status is None:
        how = evidence.failure or evidence.stop_message
    elif status == -signal.SIGKILL:
        how = "the CLI was killed by SIGKILL (out of memory?)"
    elif status < 0:
        how = f"the CLI was killed by {signal_name(-status)}"
    else:
        how = f"the CLI ended with exit status {status}, without a result"
    said = evidence.stderr_tail[-_STDERR_CHARACTERS:]
    return f"{how}: {said}" if said else how


def _output(result: ResultMessage, *, has_schema: bool) -> JsonValue:
    return result.structured_output if has_schema else result.result or ""
