"""What is counted of a prompt."""

from __future__ import annotations

import pytest

from services.claude_exec.outcomes.outcome import ClaudeOutcome
from services.claude_exec.prompt_metrics import count_prompt
from shared.telemetry import metric_names, names
from tests.metric_reader import metric_reader


def test_outcomes_tokens_and_cost() -> None:
    """Each by its kind; what the CLI does not report, or what cannot be a number of tokens, is not counted."""
    with metric_reader() as reader:
        usage = {"input_tokens": 7, "output_tokens": 5, "cache_read_input_tokens": 0, "more": 1}
        count_prompt(ClaudeOutcome("ok", cost_micros=1_500_000, usage=usage, duration_seconds=0.5))
        count_prompt(ClaudeOutcome("ok", cost_micros=250_000, usage={"input_tokens": -1, "output_tokens": "many"}))
        count_prompt(ClaudeOutcome("auth", error_type="auth"))
        assert reader.values(metric_names.PROMPTS_ENDED, names.REQUEST_OUTCOME) == {"ok": 2, "auth": 1}
        assert reader.samples(metric_names.PROMPT_DURATION, names.REQUEST_OUTCOME) == {"ok": 2, "auth": 1}
        assert reader.values(metric_names.PROMPT_TOKENS, names.TOKEN_KIND) == {"input": 7, "output": 5}
        assert reader.values(metric_names.PROMPT_COST, "")[""] == pytest.approx(1.75)
