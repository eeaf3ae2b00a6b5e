"""Ends and holds as they stand on the public topics."""

from __future__ import annotations

from typing import Any

import orjson

from eldermesh.contract.cloudevents import COMPLETED, FAILED, HELD, HOLD_REMINDER, binary_headers
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.holds import JobHold
from services.notifier.planner.occurrence import Occurrence, occurrence_of
from shared.consumer.record import ConsumedRecord

JOB = "4f970e3e-d1a3-5d45-8587-591465c16100"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
ENDED_AT_MS = 1_795_490_799_123


def end(**fields: Any) -> JobEnd:
    """A job that failed after 200 s."""
    values: dict[str, Any] = {
        "job_id": JOB,
        "status": "failed",
        "tenant": "default",
        "workload": "claude",
        "labels": {"team": "invoices"},
        "engine": "celery",
        "items_total": 10,
        "items_succeeded": 7,
        "items_failed": 2,
        "items_not_run": 1,
        "progress_records_total": 9,
        "error_type": "too_many_failures",
        "reason": "2 items failed",
        "accepted_at": "2026-11-24T03:23:19.123Z",
        "ended_at": "2026-11-24T03:26:39.123Z",
        "active_seconds": 199.5,
        "cost_usd": 1.25,
        "trace_id": TRACE_ID,
    }
    return JobEnd(**(values | fields))


def hold(**fields: Any) -> JobHold:
    """A job that waits for a person."""
    values: dict[str, Any] = {
        "job_id": JOB,
        "hold": 1,
        "tenant": "default",
        "workload": "claude",
        "labels": {},
        "submitted_by": "dana",
        "reason": "incident says high: destructive command",
        "held_at": "2026-11-24T03:23:19.123Z",
        "until": "2026-11-25T03:23:19.123Z",
        "recorded_at": "2026-11-24T03:26:39.123Z",
        "trace_id": TRACE_ID,
    }
    return JobHold(**(values | fields))


def record(event: JobEnd | JobHold | bytes, event_type: str, *, time_ms: int = ENDED_AT_MS) -> ConsumedRecord:
    """An event as it is consumed."""
    value = event if isinstance(event, bytes) else orjson.dumps(event.model_dump(mode="json"))
    headers = binary_headers(event_id=f"{JOB}:end", event_type=event_type, source="s", subject=JOB, time_ms=time_ms)
    return ConsumedRecord("t.jobs.done", "jobs.done", 0, 7, time_ms, 0, JOB.encode(), value, tuple(headers))


def ended(**fields: Any) -> Occurrence:
    """An end as rules are asked about it."""
    event = end(**fields)
    return occurrence_of(record(event, COMPLETED if event.status == "completed" else FAILED))


def held(*, reminder: bool = False, **fields: Any) -> Occurrence:
    """A hold as rules are asked about it."""
    return occurrence_of(record(hold(**fields), HOLD_REMINDER if reminder else HELD))
