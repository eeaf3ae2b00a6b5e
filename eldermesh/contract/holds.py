"""Holds on `jobs.holds`: a job waits for a person, people are told again, the wait is over."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from eldermesh.contract.vocabulary import JobId, TraceId, UtcTime

HoldOutcome = Literal["approved", "rejected", "timed_out", "job_ended"]
"""How a hold ended: by a person's decision, because nobody decided until `until` (the job is then rejected as
`denied`), or because the job ended for another reason meanwhile (cancelled, expired)."""


class JobHold(BaseModel):
    """A hold of one job, as it is when the event is recorded.

    The same fields in all three events: `held` when it begins, `hold_reminder` when nobody has decided for a while,
    `hold_ended` when it is over. A job may be held more than once: `hold` counts its holds.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    job_id: JobId
    hold: Annotated[int, Field(ge=1)]
    tenant: str
    workload: str
    labels: dict[str, str]
    submitted_by: str | None = None
    """Who cannot decide; null where the submit did not say."""
    reason: str
    held_at: UtcTime
    until: UtcTime
    """Without a decision by then the job is rejected."""
    recorded_at: UtcTime
    outcome: HoldOutcome | None = None
    """Null while the job is held."""
    by: str | None = None
    """Who approved or rejected."""
    decision_reason: str | None = None
    """What they gave as their reason."""
    trace_id: TraceId


def hold_event_id(job_id: str, hold: int, part: Literal["reminder", "ended"] | None = None) -> str:
    """`ce_id` of an event of a hold: `{job_id}:hold:{hold}`, and with `:reminder` or `:ended` behind it."""
    event_id = f"{job_id}:hold:{hold}"
    return event_id if part is None else f"{event_id}:{part}"
