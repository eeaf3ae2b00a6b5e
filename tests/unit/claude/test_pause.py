"""Which outcomes of a prompt pause its job, and until when."""

from __future__ import annotations

import time
from typing import Any

import pytest
from claude_agent_sdk import RateLimitEvent, RateLimitInfo, SystemMessage

from eldermesh.contract.claude_output import RunOutcome
from services.claude_exec.outcomes.classification import classify
from services.claude_exec.outcomes.evidence import Evidence
from services.claude_exec.outcomes.outcome import ClaudeOutcome
from services.claude_exec.workload import pause_of
from shared.backoff.asked_wait import asked_seconds


def _outcome(outcome: RunOutcome, resume: float | None = None) -> ClaudeOutcome:
    return ClaudeOutcome(outcome, message="why", attempts=2, cost_micros=70, retry_after_seconds=resume)


@pytest.mark.parametrize(
    ("outcome", "resume"), [("rate_limited", None), ("rate_limited", 30.0), ("overloaded", 30.0), ("overloaded", 0.0)]
)
def test_limits_pause_the_job(outcome: RunOutcome, resume: float | None) -> None:
    """With the time that the API has said, if it has, and what the item has cost so far."""
    pause = pause_of(_outcome(outcome, resume), first_attempt=3)
    assert pause is not None
    assert (pause.reason, pause.resume_seconds) == (f"{outcome}: why", resume)
    assert (pause.cost_micros, pause.attempt) == (70, 4)


@pytest.mark.parametrize("outcome", ["ok", "overloaded", "refused", "auth", "budget", "timeout", "crashed"])
def test_everything_else_is_an_end_of_the_item(outcome: RunOutcome) -> None:
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


@pytest.mark.parametrize(
    "resets_at",
    [
        None,
        True,
        "1795490799",
        "2026-11-24T03:26:49Z",
        [],
        {},
        float("nan"),
        float("inf"),
        -1,
        0,
        10**400,
        lambda now: now - 3600,
        lambda now: now * 1000,
        lambda now: now + 40 * 86400,
        lambda now: -now,
    ],
)
def test_a_reset_that_cannot_be_one_was_not_said(resets_at: Any) -> None:
    """Over, in milliseconds, beyond any real limit, no number: then the job pauses for as long as nobody said."""
    evidence = Evidence(error="rate_limit")
    evidence.take(_limit(resets_at(time.time()) if callable(resets_at) else resets_at))
    assert evidence.retry_after_seconds is None
    pause = pause_of(_outcome("rate_limited", evidence.retry_after_seconds), first_attempt=1)
    assert pause is not None
    assert pause.resume_seconds is None


def test_a_reset_in_a_week_counts() -> None:
    """As the longest limits are."""
    evidence = Evidence()
    evidence.take(_limit(time.time() + 7 * 86400))
    assert evidence.retry_after_seconds == pytest.approx(7 * 86400, abs=60)


@pytest.mark.parametrize("delay_ms", [None, "30", True, -5, float("nan"), float("inf"), 10**400, 10**15])
def test_a_delay_that_cannot_be_one_was_not_said(delay_ms: Any) -> None:
    """The CLI's own retries tell delays, too."""
    evidence = Evidence()
    evidence.take(SystemMessage("api_retry", {"error_status": 429, "retry_delay_ms": delay_ms}))
    assert (evidence.waits_for, evidence.waits_until) == (429, None)


@pytest.mark.parametrize("value", [None, "5", False, 0, 0.0, -1, float("nan"), float("inf"), 10**400, 40 * 86400])
def test_no_plug_in_pauses_its_job_for_ever(value: Any) -> None:
    """What a workload asks for is judged by the same rule."""
    assert asked_seconds(value) is None
    assert asked_seconds(5) == 5


def _limit(resets_at: Any) -> RateLimitEvent:
    return RateLimitEvent(RateLimitInfo(status="rejected", resets_at=resets_at), uuid="u", session_id="s")
