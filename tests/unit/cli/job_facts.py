"""Facts of jobs as they lie in a history, for tests of what reads them. Times are milliseconds since 1970."""

from __future__ import annotations

import json
from typing import Any

from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.ids import trace_id_of
from shared.facts.fact import ChunkTimes, Fact, InboxRecord
from shared.facts.jobs import FactResult, ItemsCompleted, JobAccepted, JobRouted, JobTerms
from shared.history.facts import FactRecord

T0 = 1_795_000_000_000
"""When the jobs of the tests were submitted."""

WEEK_MS = 7 * 24 * 3600 * 1000


def accepted(job_id: str, submit: dict[str, Any], *, submitted_at: int = T0, offset: int = 0) -> JobAccepted:
    """What admission makes of a submit."""
    job = JobSubmit.model_validate(submit)
    return JobAccepted(
        inbox=InboxRecord(topic="jobs", partition=0, offset=offset),
        original=json.dumps(submit),
        content_hash=job.content_hash(),
        terms=JobTerms(
            workload=job.workload,
            tenant=job.tenant,
            submitted_by=job.submitted_by,
            labels=job.labels,
            priority=job.priority,
            expires_after_ms=WEEK_MS,
            max_failed_items=job.max_failed_items,
        ),
        items_total=None if job.items is None else len(job.items),
        submitted_at=submitted_at,
        trace_id=trace_id_of(job_id),
        traceparent=f"00-{trace_id_of(job_id)}-00f067aa0ba902b7-01",
    )


def routed(n: int = 0, *, chunk_items: int = 2) -> JobRouted:
    """The decision for Celery."""
    return JobRouted(n=n, engine="celery", chunk_items=chunk_items, policy="static")


def completed(
    job_id: str,
    first: int,
    last: int,
    *,
    epoch: int = 1,
    times: tuple[int, int, int] | None = None,
    failed: bool = False,
) -> ItemsCompleted:
    """Results of items `first..last`, all of one kind; `times` are dispatch, claim and end."""
    results = tuple(
        FactResult(
            item_index=index,
            status="failed" if failed else "succeeded",
            output=None if failed else index * 10,
            error_type="exception" if failed else None,
            error_message="it broke" if failed else None,
            duration_ms=5,
        )
        for index in range(first, last + 1)
    )
    chunk_times = None
    if times is not None:
        dispatched, claimed, ended = times
        chunk_times = ChunkTimes(dispatched_at=dispatched, claimed_at=claimed, started_at=claimed, ended_at=ended)
    return ItemsCompleted(
        epoch=epoch,
        chunk_id=f"{job_id}/0/{epoch}/{first}-{last}",
        engine="celery",
        worker_id="worker-1",
        results=results,
        times=chunk_times,
    )


def log_of(job_id: str, *timed_facts: tuple[int, Fact]) -> list[FactRecord]:
    """Facts of one job as records, at these times."""
    return [
        FactRecord(offset, time_ms, job_id, fact.fact_type, fact.encode())
        for offset, (time_ms, fact) in enumerate(timed_facts)
    ]
