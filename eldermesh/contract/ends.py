"""Ends on `jobs.done`: one for each accepted job."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from eldermesh.contract.vocabulary import EndStatus, Engine, ErrorType, JobId, TraceId, UtcTime


class JobEnd(BaseModel):
    """The one end of an accepted job. `items_total` is null if the items were never ingested."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    job_id: JobId
    status: EndStatus
    tenant: str
    workload: str
    labels: dict[str, str]
    engine: Engine | None
    items_total: int | None
    items_succeeded: int
    items_failed: int
    items_not_run: int | None
    progress_records_total: int
    error_type: ErrorType | None
    reason: str | None
    accepted_at: UtcTime
    ended_at: UtcTime
    active_seconds: float
    cost_usd: float | None
    trace_id: TraceId
