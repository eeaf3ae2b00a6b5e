"""Results on `jobs.progress`: gap-free, each item once."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from eldermesh.contract.vocabulary import Engine, ErrorType, ItemStatus, JobId, TraceId, UtcTime

_TOLERANT = ConfigDict(frozen=True, extra="ignore")


class ItemResult(BaseModel):
    """What became of one item. Times in seconds, cost in US dollars; null where a field does not apply."""

    model_config = _TOLERANT

    item_index: Annotated[int, Field(ge=0)]
    status: ItemStatus
    output: JsonValue = None
    output_url: str | None = None
    error_type: ErrorType | None = None
    error_message: str | None = None
    attempt: Annotated[int, Field(ge=1)] = 1
    duration_seconds: float | None = None
    cost_usd: float | None = None


class JobProgress(BaseModel):
    """One record of results; `sequence` counts 1, 2, … within the job."""

    model_config = _TOLERANT

    job_id: JobId
    sequence: Annotated[int, Field(ge=1)]
    stage_index: int = 0
    epoch: int
    engine: Engine
    worker_id: str
    items_ended: int
    recorded_at: UtcTime
    trace_id: TraceId
    results: Annotated[list[ItemResult], Field(min_length=1)]
