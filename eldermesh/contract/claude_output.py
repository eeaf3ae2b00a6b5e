"""What the mesh writes on `claude.output`: what a prompt's CLI says while it runs, and the request's end."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from eldermesh.contract.vocabulary import ErrorType, JobId, TraceId, UtcTime

_TOLERANT = ConfigDict(frozen=True, extra="ignore")

OutputKind = Literal["started", "text", "thinking", "tool_use", "tool_result", "retry", "omitted"]
ClaudeEndStatus = Literal["completed", "failed", "cancelled"]
RunOutcome = Literal[
    "ok",
    "refused",
    "invalid",
    "budget",
    "turns",
    "timeout",
    "idle",
    "rate_limited",
    "overloaded",
    "auth",
    "crashed",
    "cancelled",
]
"""What may become of a run of the CLI."""
OutcomeClass = Literal[RunOutcome, "expired"]
"""What may become of a request: its run's outcome, or none in time."""

MAX_OUTPUT_TEXT_BYTES = 16 * 1024
"""Most of a record's `text`, in UTF-8; what is longer comes in several records, or is cut."""

MAX_OUTPUT_BYTES = 8 * 1024 * 1024
"""Most text of all records of one attempt; what comes after that is not streamed."""


class ClaudeOutput(BaseModel):
    """A piece of a running prompt's output; `sequence` counts 1, 2, … within the attempt.

    A run that died is followed by another one, with a higher `attempt` and a sequence of its own: what an older
    attempt said is void then.
    """

    model_config = _TOLERANT

    request_id: JobId
    attempt: Annotated[int, Field(ge=1)]
    sequence: Annotated[int, Field(ge=1)]
    kind: OutputKind
    text: str | None
    tool_use_id: str | None
    tool_name: str | None
    is_error: bool | None
    truncated: bool
    recorded_at: UtcTime
    trace_id: TraceId


class ClaudeUsage(BaseModel):
    """Tokens, as the CLI reports them."""

    model_config = _TOLERANT

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int


class ClaudeEnd(BaseModel):
    """The one end of an accepted request. What is not known, or does not apply, is null.

    `attempt` is that of the run whose outcome this is, and `output_records_total` says how many records of live output
    it has; null where no run's outcome decided.
    """

    model_config = _TOLERANT

    request_id: JobId
    status: ClaudeEndStatus
    outcome: OutcomeClass
    tenant: str
    labels: dict[str, str]
    result: JsonValue
    result_url: str | None
    error_type: ErrorType | None
    reason: str | None
    model: str | None
    turns: int | None
    usage: ClaudeUsage | None
    cost_usd: float | None
    attempt: int | None
    output_records_total: int | None
    accepted_at: UtcTime
    ended_at: UtcTime
    run_seconds: float | None
    trace_id: TraceId
