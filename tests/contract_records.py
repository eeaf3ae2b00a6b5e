"""Hand-made records of the public contract: what a faultless mesh would publish, with fields to spoil."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from eldermesh.contract import cloudevents
from eldermesh.contract.cloudevents import Headers, binary_headers
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.ids import trace_id_of
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.times import format_time
from eldermesh.contract.topics import JOBS, JOBS_DEAD, JOBS_DONE, JOBS_PROGRESS
from eldermesh.contract.vocabulary import DeadLetterType

NOW_MS = 1_795_000_000_123
_SOURCE = "/eldermesh/router"


def result(item_index: int, output: Any = None, **fields: Any) -> dict[str, Any]:
    """One item's result with every field of the contract."""
    return {
        "item_index": item_index,
        "status": "succeeded",
        "output": output,
        "output_url": None,
        "error_type": None,
        "error_message": None,
        "attempt": 1,
        "duration_seconds": 0.01,
        "cost_usd": None,
    } | fields


def progress(job_id: str, sequence: int, results: Sequence[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """The value of a progress record with every field of the contract."""
    return {
        "job_id": job_id,
        "sequence": sequence,
        "stage_index": 0,
        "epoch": 1,
        "engine": "celery",
        "worker_id": "worker-1",
        "items_ended": len(results),
        "recorded_at": format_time(NOW_MS),
        "trace_id": trace_id_of(job_id),
        "results": list(results),
    } | fields


def end(job_id: str, *, succeeded: int = 0, records: int = 0, **fields: Any) -> dict[str, Any]:
    """The value of an end, `completed` unless `fields` say otherwise, with every field of the contract."""
    return {
        "job_id": job_id,
        "status": "completed",
        "tenant": "default",
        "workload": "python",
        "labels": {},
        "engine": "celery",
        "items_total": succeeded,
        "items_succeeded": succeeded,
        "items_failed": 0,
        "items_not_run": 0,
        "progress_records_total": records,
        "error_type": None,
        "reason": None,
        "accepted_at": format_time(NOW_MS),
        "ended_at": format_time(NOW_MS + 1500),
        "active_seconds": 1.5,
        "cost_usd": None,
        "trace_id": trace_id_of(job_id),
    } | fields


def headers(event_id: str, event_type: str, job_id: str) -> Headers:
    """The headers of such a record."""
    return binary_headers(
        event_id=event_id,
        event_type=event_type,
        source=_SOURCE,
        subject=job_id,
        time_ms=NOW_MS,
        traceparent=f"00-{trace_id_of(job_id)}-00f067aa0ba902b7-01",
    )


def submit_record(
    job_id: str, items: Sequence[Any], *, offset: int = 0, inbox: str = JOBS, **fields: Any
) -> PublicRecord:
    """A submit of a `python` job on an inbox."""
    value = {"job_id": job_id, "workload": "python", "items": list(items)} | fields
    return PublicRecord(inbox, 0, offset, job_id.encode(), (), json.dumps(value).encode())


def progress_record(
    job_id: str, sequence: int, results: Sequence[dict[str, Any]], *, offset: int = 0, **fields: Any
) -> PublicRecord:
    """A record of results."""
    value = json.dumps(progress(job_id, sequence, results, **fields)).encode()
    named = headers(f"{job_id}:progress:{sequence}", cloudevents.PROGRESS, job_id)
    return PublicRecord(JOBS_PROGRESS, 0, offset, job_id.encode(), tuple(named), value)


def end_record(job_id: str, *, offset: int = 0, **fields: Any) -> PublicRecord:
    """An end."""
    value = end(job_id, **fields)
    named = headers(f"{job_id}:end", f"eldermesh.job.{value['status']}.v1", job_id)
    return PublicRecord(JOBS_DONE, 0, offset, job_id.encode(), tuple(named), json.dumps(value).encode())


def dead_record(original: PublicRecord, error_type: DeadLetterType, *, prefix: str = "") -> PublicRecord:
    """The dead letter of a record of the inbox."""
    provenance = DeadLetterHeaders(
        f"{prefix}{original.topic}", original.partition, original.offset, error_type, "a reason", original.key
    )
    named = tuple(provenance.encode(original.headers))
    return PublicRecord(JOBS_DEAD, 0, original.offset, original.key, named, original.value)
