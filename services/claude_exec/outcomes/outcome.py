"""What became of a prompt, in one of twelve classes."""

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
"""The contract's word for each class but `ok`; an outcome can have a more exact one."""


@dataclass(frozen=True, slots=True)
class ClaudeOutcome:
    """The outcome of one prompt. `repr` never shows the output.

    Attributes:
        outcome: The class.
        output: The model's last text, or an object if a schema was given; None unless `ok`.
        error_type: The contract's word; None if `ok`.
        message: Why, for people; empty if `ok`.
        cost_micros: Micro-dollars, as the CLI reckons them; None if it told none.
        usage: Tokens, as the CLI reports them.
        model: Which model answered last.
        turns: Requests to the model.
        session_id: The CLI's own name of the run.
        attempts: CLIs that were started for it.
        api_status: HTTP status of the API's last refusal.
        exit_status: Of the last CLI, or minus the signal that ended it.
        retry_after_seconds: When to ask again, if the API said that.
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
