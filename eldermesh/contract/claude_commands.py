"""Commands on `claude.requests`: run one prompt, or cancel that. Strict, as those of jobs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from eldermesh.contract.canonical import content_hash
from eldermesh.contract.commands import Seconds
from eldermesh.contract.vocabulary import MAX_LABELS, JobId, LabelText, Name, ReasonText, ShortText

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)


class ClaudeRequest(BaseModel):
    """One prompt to run. `{"prompt": "Say hi"}` is a whole request."""

    model_config = _STRICT

    prompt: Annotated[str, Field(min_length=1)]
    options: dict[str, JsonValue] = Field(default_factory=dict)
    request_id: JobId | None = None
    idempotency_key: ShortText | None = None
    tenant: Name = "default"
    submitted_by: ShortText | None = None
    labels: Annotated[dict[LabelText, LabelText], Field(max_length=MAX_LABELS)] = Field(default_factory=dict)
    timeout_seconds: Seconds | None = None
    expires_after_seconds: Seconds | None = None
    stream: bool = True

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("an empty prompt")
        return value

    def content(self) -> dict[str, Any]:
        """What makes two requests "the same": every field but the ids, default-valued ones left out."""
        return self.model_dump(mode="json", exclude={"request_id", "idempotency_key"}, exclude_defaults=True)

    def content_hash(self) -> str:
        """SHA-256 of the canonical form of `content()`."""
        return content_hash(self.content())


class ClaudeCancel(BaseModel):
    """Ask that a request ends cancelled; its CLI is killed."""

    model_config = _STRICT

    request_id: JobId
    reason: ReasonText | None = None
