"""The judgement, sign by sign. That the real CLI gives these signs is shown in tests/integration/claude."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, get_args

import pytest
from claude_agent_sdk import AssistantMessage, Message, RateLimitEvent, RateLimitInfo, ResultMessage, SystemMessage

from eldermesh.contract.claude_output import RunOutcome
from services.claude_exec.outcomes.classification import classify
from services.claude_exec.outcomes.evidence import Evidence
from services.claude_exec.outcomes.outcome import ERROR_TYPES
from services.claude_exec.requests.answer import answer_of
from services.claude_exec.workload import item_outcome
from shared.blobs.store import BlobStore
from shared.facts.claude import ClaudeAnswered
from shared.facts.fact import ChunkTimes
from shared.workloads import ItemFailed, ItemSucceeded

_GOOD = ResultMessage(
    subtype="success",
    duration_ms=1,
    duration_api_ms=1,
    is_error=False,
    num_turns=2,
    session_id="s",
    stop_reason="end_turn",
    total_cost_usd=0.0123456,
    usage={"input_tokens": 1},
    result="hello",
    terminal_reason="completed",
)


def _with(error: str | None = None, **fields: Any) -> Evidence:
    return Evidence(result=replace(_GOOD, **fields), error=error, exit_status=0)


_API: dict[str, Any] = {"is_error": True, "terminal_reason": "api_error", "result": "API Error"}


@pytest.mark.parametrize(
    ("evidence", "outcome", "error_type"),
    [
        (_with(), "ok", None),
        (Evidence(result=_GOOD, exit_status=-9), "ok", None),  # killed after its last word
        (Evidence(result=_GOOD, timed_out=True), "ok", None),
        (_with(**_API, api_error_status=429), "rate_limited", "rate_limited"),
        (_with(**_API, api_error_status=529), "overloaded", "overloaded"),
        (_with(**_API, api_error_status=500), "overloaded", "overloaded"),
        (_with(**_API, api_error_status=401), "auth", "auth"),
        (_with(**_API, api_error_status=403), "auth", "auth"),
        (_with(**_API, api_error_status=400), "invalid", "exception"),
        (_with(**_API, api_error_status=404), "invalid", "exception"),
        (_with("authentication_failed", **_API), "auth", "auth"),
        (_with("rate_limit", **_API), "rate_limited", "rate_limited"),
        (_with("billing_error", **_API), "budget", "budget"),
        (_with("server_error", **_API), "overloaded", "overloaded"),
        (_with("unknown", **_API), "overloaded", "overloaded"),
        (_with("invalid_request", **_API | {"stop_reason": "refusal"}), "refused", "refused"),
        (_with(stop_reason="refusal"), "refused", "refused"),
        (_with(subtype="error_max_turns", is_error=True, terminal_reason="max_turns"), "turns", "turns"),
        (_with(subtype="error_max_turns", is_error=False, terminal_reason=None), "turns", "turns"),
        (_with(subtype="error_max_budget_usd", is_error=True, terminal_reason="budget_exhausted"), "budget", "budget"),
        (_with(subtype="error_max_structured_output_retries", is_error=True), "invalid", "invalid_output"),
        (_with(subtype="error_during_execution", terminal_reason=None), "crashed", "crashed"),
        (_with(is_error=True), "crashed", "crashed"),  # exit status 0, `success`, and yet an error
        (Evidence(exit_status=-9), "crashed", "crashed"),
        (Evidence(exit_status=1, stderr_tail="why"), "crashed", "crashed"),
        (Evidence(exit_status=0, stopped="ended"), "crashed", "crashed"),
        (Evidence(stopped="start"), "crashed", "crashed"),
        (Evidence(stopped="program", stop_message="no such file"), "crashed", "internal"),
        (Evidence(stopped="idle"), "idle", "idle"),
        (Evidence(stopped="idle", waits_for=429), "rate_limited", "rate_limited"),
        (Evidence(stopped="idle", waits_for=529), "overloaded", "overloaded"),
        (Evidence(stopped="output"), "invalid", "result_too_large"),
        (Evidence(timed_out=True), "timeout", "timeout"),
        (Evidence(killed=True, stopped="ended", exit_status=-9), "cancelled", "cancelled"),
    ],
)
def test_classes(evidence: Evidence, outcome: RunOutcome, error_type: str | None) -> None:
    """One row a combination of signs."""
    judged = classify(evidence, has_schema=False)
    assert (judged.outcome, judged.error_type) == (outcome, error_type)


@pytest.mark.parametrize(
    "said", ["Error: --json-schema is not a valid JSON Schema: why", "strict mode\n--json-schema: no"]
)
def test_an_exit_that_names_the_schema(said: str) -> None:
    """The request itself is wrong: no crash, so no other CLI is started for it. Without a schema it is one."""
    evidence = Evidence(exit_status=1, stopped="ended", stderr_tail=said)
    judged = classify(evidence, has_schema=True)
    assert (judged.outcome, judged.error_type) == ("invalid", "exception")
    assert said in judged.message
    assert classify(evidence, has_schema=False).outcome == "crashed"
    assert classify(replace(evidence, exit_status=-9), has_schema=True).outcome == "crashed"


def test_every_class_has_a_word_of_the_contract() -> None:
    """All but `ok`."""
    assert set(ERROR_TYPES) == set(get_args(RunOutcome)) - {"ok"}


def test_the_output_contract_counts() -> None:
    """With a schema the output is the object; a success without one is none."""
    judged = classify(_with(structured_output={"n": 1}), has_schema=True)
    assert (judged.outcome, judged.output) == ("ok", {"n": 1})
    for without in (None, [1], "text"):
        assert classify(_with(structured_output=without), has_schema=True).error_type == "invalid_output"


def test_figures() -> None:
    """Money is whole micro-dollars, and counts for failures, too."""
    good, bad = classify(_with(), has_schema=False), classify(_with(is_error=True), has_schema=False)
    assert good.cost_micros == bad.cost_micros == 12346
    assert (good.turns, good.session_id, good.usage, good.output) == (2, "s", {"input_tokens": 1}, "hello")
    assert bad.output is None
    assert "hello" not in repr(good)


def _after(*messages: Message) -> Evidence:
    evidence = Evidence()
    for message in messages:
        evidence.take(message)
    return evidence


def test_evidence_of_messages() -> None:
    """The last word counts: who waits for the API is no longer waiting once it says something else."""
    waits = SystemMessage("api_retry", {"error_status": 429})
    answers = AssistantMessage([], model="claude-x", error="rate_limit")
    assert _after(waits).waits_for == 429
    evidence = _after(waits, answers, replace(answers, model="<synthetic>"))
    assert (evidence.waits_for, evidence.error, evidence.model) == (None, "rate_limit", "claude-x")
    assert _after(RateLimitEvent(RateLimitInfo("allowed", resets_at=1), "u", "s")).retry_after_seconds is None
    reached = RateLimitEvent(RateLimitInfo("rejected", resets_at=int(time.time()) + 60), "u", "s")
    assert 50 < (_after(reached).retry_after_seconds or 0) <= 60


def test_outcomes_of_items() -> None:
    """Attempts add up with the chunk's; text that is no Unicode does not break the record."""
    good = classify(_with(result="a\ud800"), has_schema=False)
    succeeded = item_outcome(replace(good, attempts=2), first_attempt=3)
    assert isinstance(succeeded, ItemSucceeded)
    assert (succeeded.output_json, succeeded.attempt, succeeded.cost_micros) == (b'"a?"', 4, 12346)
    failed = item_outcome(classify(Evidence(timed_out=True), has_schema=False), first_attempt=1)
    assert isinstance(failed, ItemFailed)
    assert failed.error_type == "timeout"


_NO_COUNTS = ("2", 2.5, -1, 2**53, float("nan"), True, [2], {"n": 2})


@pytest.mark.parametrize("told", _NO_COUNTS, ids=map(repr, _NO_COUNTS))
async def test_a_figure_that_cannot_be_one_is_not_known(told: Any) -> None:
    """It costs itself alone: the answer, which was paid for, is kept, and its fact can be written and read."""
    evidence = _with(num_turns=told, usage={"input_tokens": told, "output_tokens": 3})
    answer = await _answer(evidence)
    assert (answer.outcome, answer.result, answer.turns) == ("ok", "hello", None)
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (0, 3)
    assert (await _answer(_with(usage=[told]))).usage is None


@pytest.mark.parametrize("model", [7, ["m"], None, "m\ud83d", "m" * 100_000])
async def test_a_model_may_be_called_anything(model: Any) -> None:
    """What its name is comes from whoever answers at the API's address."""
    evidence = _after(AssistantMessage(content=[], model=model), _GOOD)
    answer = await _answer(evidence)
    assert (answer.outcome, answer.result) == ("ok", "hello")
    assert answer.model is None or (answer.model.startswith("m") and len(answer.model) <= 256)


async def test_what_a_failure_says_may_be_anything() -> None:
    """Errors that are no texts are told as they stand."""
    failed = _API | {"api_error_status": 400, "result": {"no": "text"}}
    assert (await _answer(_with(**failed))).message == "{'no': 'text'}"
    assert (await _answer(_with(**failed, errors=[{"code": 1}, "bad"]))).message == "{'code': 1}; bad"


async def _answer(evidence: Evidence) -> ClaudeAnswered:
    """What is read of the fact that is appended."""
    times = ChunkTimes(dispatched_at=1, claimed_at=1, started_at=1, ended_at=1)
    fact = await answer_of(
        classify(evidence, has_schema=False),
        epoch=1,
        worker_id="w",
        output_records=0,
        times=times,
        blob_name="none is written",
        blobs=BlobStore("file:///nowhere"),
    )
    return ClaudeAnswered.model_validate_json(fact.encode())
