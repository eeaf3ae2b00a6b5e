"""Which outcomes of a prompt pause its job, and until when."""

from __future__ import annotations

import time

import pytest
from claude_agent_sdk import SystemMessage

from services.claude_exec.classification import classify
from services.claude_exec.evidence import Evidence
from services.claude_exec.outcome import ClaudeOutcome, OutcomeClass
from services.claude_exec.workload import pause_of


def _outcome(outcome: OutcomeClass, resume: float | None = None) -> ClaudeOutcome:
    return ClaudeOutcome(outcome, message="why", attempts=2, cost_micros=70, retry_after_seconds=resume)


@pytest.mark.parametrize(
    ("outcome", "resume"), [("rate_limited", None), ("rate_limited", 30.0), ("overloaded", 30.0), ("overloaded", 0.0)]
)
def test_limits_pause_the_job(outcome: OutcomeClass, resume: float | None) -> None:
    """With the time that the API has said, if it has, and what the item has cost so far."""
    pause = pause_of(_outcome(outcome, resume), first_attempt=3)
    assert pause is not None
    assert (pause.reason, pause.resume_seconds) == (f"{outcome}: why", resume)
    assert (pause.cost_micros, pause.attempt) == (70, 4)


@pytest.mark.parametrize("outcome", ["ok", "overloaded", "refused", "auth", "budget", "timeout", "crashed"])
def test_everything_else_is_an_end_of_the_item(outcome: OutcomeClass) -> None:
    """An API that is overloaded and does not say until when has had its retries."""
    assert pause_of(_outcome(outcome), first_attempt=1) is None


@pytest.mark.parametrize(("status", "outcome"), [(429, "rate_limited"), (529, "overloaded"), (503, "overloaded")])
def test_a_cli_that_is_to_wait_too_long(status: int, outcome: str) -> None:
    """What it was told is the outcome, with the rest of the time."""
    evidence = Evidence(stopped="waits", stop_message="30 s")
    evidence.take(SystemMessage("api_retry", {"error_status": status, "retry_delay_ms": 30_000}))
    assert (evidence.waits_until or 0) > time.time()
    judged = classify(evidence, has_schema=False)
    assert (judged.outcome, judged.api_status, judged.message) == (outcome, status, "30 s")
    assert 25 < (judged.retry_after_seconds or 0) <= 30


def test_a_wait_that_is_over_is_forgotten() -> None:
    """The CLI has gone on since."""
    evidence = Evidence()
    evidence.take(SystemMessage("api_retry", {"error_status": 429, "retry_delay_ms": 30_000}))
    evidence.take(SystemMessage("status", {}))
    assert (evidence.waits_for, evidence.waits_until, evidence.retry_after_seconds) == (None, None, None)
    evidence.take(SystemMessage("api_retry", {"error_status": 429}))
    assert (evidence.waits_for, evidence.waits_until) == (429, None)
