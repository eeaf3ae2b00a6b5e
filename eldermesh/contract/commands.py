"""Commands: what anyone may send to an inbox topic. Strict: an unknown field or a wrong type is refused."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from eldermesh.contract.canonical import content_hash
from eldermesh.contract.vocabulary import (
    MAX_ITEMS,
    MAX_LABELS,
    AdviceLevel,
    Decision,
    EngineChoice,
    JobId,
    LabelText,
    Name,
    Priority,
    ReasonText,
    ShortText,
)

_MAX_SECONDS = 366 * 24 * 3600
_MAX_USD = 1_000_000

Seconds = Annotated[float, Field(gt=0, le=_MAX_SECONDS, allow_inf_nan=False)]
Dollars = Annotated[float, Field(gt=0, le=_MAX_USD, allow_inf_nan=False)]

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)


class JobSubmit(BaseModel):
    """One job: a workload and its items. `{"workload": "python", "items": [1], "options": {...}}` is a whole job."""

    model_config = _STRICT

    workload: Name
    items: Annotated[list[JsonValue], Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    items_url: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict)
    job_id: JobId | None = None
    idempotency_key: ShortText | None = None
    tenant: Name = "default"
    submitted_by: ShortText | None = None
    labels: Annotated[dict[LabelText, LabelText], Field(max_length=MAX_LABELS)] = Field(default_factory=dict)
    priority: Priority = "normal"
    engine: EngineChoice = "auto"
    advice: AdviceLevel = "full"
    active_timeout_seconds: Seconds | None = None
    expires_after_seconds: Seconds | None = None
    item_timeout_seconds: Seconds | None = None
    max_cost_usd: Dollars | None = None
    max_failed_items: Annotated[int, Field(ge=0, le=MAX_ITEMS)] = 0
    stream: bool = False

    @model_validator(mode="after")
    def _one_source_of_items(self) -> JobSubmit:
        if (self.items is None) == (self.items_url is None):
            raise ValueError("exactly one of items and items_url is required")
        return self

    def content(self) -> dict[str, Any]:
        """What makes two submits "the same": every field but the ids, default-valued ones left out."""
        return self.model_dump(mode="json", exclude={"job_id", "idempotency_key"}, exclude_defaults=True)

    def content_hash(self) -> str:
        """SHA-256 of the canonical form of `content()`."""
        return content_hash(self.content())


class JobCancel(BaseModel):
    """Ask that a job ends cancelled; what has not ended by then is not run."""

    model_config = _STRICT

    job_id: JobId
    reason: ReasonText | None = None


class JobDecide(BaseModel):
    """A person's decision on a held job; who submitted it cannot be `by`."""

    model_config = _STRICT

    job_id: JobId
    decision: Decision
    by: ShortText
    reason: ReasonText | None = None
