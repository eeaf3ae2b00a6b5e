"""The outcome of a prompt, in one of twelve classes, and the checked numbers in it.

The CLI passes on what the API's address answers, so a number may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from eldermesh.contract.claude_output import RunOutcome
from eldermesh.contract.vocabulary import ErrorType

ERROR_TYPES: Final[Mapping[RunOutcome, ErrorType]] = {
    "refused": "refused",
    "invalid": "invalid_output",
    "budget": "budget",
    "turns": "turns",
    "timeout": "timeout",
    "idle": "idle",
    "rate_limited": "rate_limited",
    "overloaded": "overloaded",
    "auth": "auth",
    "crashed": "crashed",
    "cancelled": "cancelled",
}
"""The contract's error type of each class but `ok`; an outcome may have a more exact one."""


_MICROS: Final = 1_000_000
_MOST_USD: Final = 1_000_000
_MOST: Final = 2**53 - 1
"""I-JSON has no larger integer (RFC 7493)."""


@dataclass(frozen=True, slots=True)
class ClaudeOutcome:
    """The outcome of one prompt. `repr` never shows the output.

    Attributes:
        outcome: The class.
        output: The model's last text, or an object if a schema was given; None unless `ok`.
        error_type: The contract's error type; None if `ok`.
        message: Why, for people; empty if `ok`.
        cost_micros: Micro-dollars, as the CLI reports them; None if it reports none.
        usage: Tokens, as the CLI reports them.
        model: Which model answered last.
        turns: Requests to the model.
        session_id: The CLI's id of the run.
        attempts: How many CLIs were started.
        api_status: HTTP status of the API's last refusal.
        exit_status: Of the last CLI, or minus the signal that ended it.
        retry_after_seconds: How long to wait before the next request, if the API said so.
        duration_seconds: From the first CLI's start to the last one's end.
    """

    outcome: RunOutcome
    output: JsonValue = None
    error_type: ErrorType | None = None
    message: str = ""
    cost_micros: int | None = None
    usage: Mapping[str, Any] | None = None
    model: str | None = None
    turns: int | None = None
    session_id: str | None = None
    attempts: int = 1
    api_status: int | None = None
    exit_status: int | None = None
    retry_after_seconds: float | None = None
    duration_seconds: float = 0.0

    def __repr__(self) -> str:
        return f"ClaudeOutcome({self.outcome}, {self.message[:200]!r}, attempts {self.attempts})"


def count_of(told: object) -> int | None:
    """A count; None if the value cannot be one."""
    if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told <= _MOST:
        return None
    return told


def micros_of(cost_usd: object) -> int | None:
    """A cost in micro-dollars; None if the value cannot be a cost in dollars."""
    if isinstance(cost_usd, bool) or not isinstance(cost_usd, int | float) or not 0 <= cost_usd <= _MOST_USD:
        return None
    return round(cost_usd * _MICROS)
