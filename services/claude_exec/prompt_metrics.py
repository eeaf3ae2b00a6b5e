"""The metrics of prompts that went through the Claude CLI."""

from __future__ import annotations

from opentelemetry import metrics

from services.claude_exec.outcomes.outcome import ClaudeOutcome, count_of
from shared.telemetry import metric_names, names

_TOKENS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_creation": "cache_creation_input_tokens",
}
_MICROS = 1_000_000

_meter = metrics.get_meter("eldermesh")
_ended = _meter.create_counter(metric_names.PROMPTS_ENDED.name, metric_names.PROMPTS_ENDED.unit)
_duration = _meter.create_histogram(metric_names.PROMPT_DURATION.name, metric_names.PROMPT_DURATION.unit)
_tokens = _meter.create_counter(metric_names.PROMPT_TOKENS.name, metric_names.PROMPT_TOKENS.unit)
_cost = _meter.create_counter(metric_names.PROMPT_COST.name, metric_names.PROMPT_COST.unit)


def count_prompt(outcome: ClaudeOutcome) -> None:
    """Count a prompt, with the tokens and the cost that the CLI reports for it."""
    attributes = {names.REQUEST_OUTCOME: outcome.outcome}
    _ended.add(1, attributes)
    _duration.record(outcome.duration_seconds, attributes)
    for kind, name in _TOKENS.items():
        if number := count_of((outcome.usage or {}).get(name)):
            _tokens.add(number, {names.TOKEN_KIND: kind})
    if outcome.cost_micros is not None:
        _cost.add(outcome.cost_micros / _MICROS)
