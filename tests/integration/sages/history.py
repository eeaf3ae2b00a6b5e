"""Facts of jobs that never ran, published to a real history with the times that a test wants."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID, uuid4

import orjson
from pydantic import JsonValue

from eldermesh.contract.ids import trace_id_of
from eldermesh.contract.partitions import partition_of
from eldermesh.contract.vocabulary import Engine
from shared.facts.fact import ChunkTimes, Fact, InboxRecord
from shared.facts.jobs import FactResult, ItemsCompleted, JobAccepted, JobEnded, JobRouted, JobTerms
from shared.history.facts import fact_headers
from shared.kafka.service_producer import make_plain_producer
from shared.kafka.topics import JOBS_HISTORY
from shared.settings import Settings

Priority = Literal["interactive", "normal", "batch"]


def now_ms() -> int:
    """The wall clock, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job as its facts tell it. Durations are in milliseconds."""

    workload: str = "python"
    items: tuple[JsonValue, ...] = (1,)
    ran_ms: int = 1000
    queued_ms: int = 100
    cost_micros: int | None = None
    engine: Engine = "celery"
    status: str = "completed"
    content_hash: str = "h"
    priority: Priority = "normal"
    options: tuple[tuple[str, JsonValue], ...] = ()


class HistoryWriter:
    """Publishes facts to `jobs.history`, each with a time of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Any = make_plain_producer(settings, client_id="history")

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.stop()

    async def append(self, job_id: str, facts: Iterable[tuple[int, Fact]]) -> None:
        """Append facts of one job, with their times."""
        await self.append_raw(job_id, [(at, fact.fact_type, fact.encode()) for at, fact in facts])

    async def append_raw(self, job_id: str, facts: Iterable[tuple[int, str, bytes]]) -> None:
        """Append whatever bytes under a fact's type."""
        sent = [
            await self._producer.send(
                self._settings.topic(JOBS_HISTORY),
                value=value,
                key=job_id.encode(),
                partition=partition_of(job_id, self._settings.partition_count),
                headers=fact_headers(fact_type, job_id, traceparent(job_id)),
                timestamp_ms=at,
            )
            for at, fact_type, value in facts
        ]
        for each in sent:
            await each

    async def past(self, job: PastJob, *, ended_at: int | None = None, job_id: str | None = None) -> str:
        """A whole job, which ended at `ended_at` (default: now); return its id."""
        name = job_id or str(uuid4())
        await self.append(name, facts_of(name, job, ended_at or now_ms()))
        return name


def facts_of(job_id: str, job: PastJob, ended_at: int) -> Sequence[tuple[int, Fact]]:
    """The facts of a job that ended then, and their times."""
    started_at = ended_at - job.ran_ms
    accepted_at = started_at - job.queued_ms
    results = tuple(
        FactResult(item_index=index, status="succeeded", cost_micros=job.cost_micros if index == 0 else None)
        for index in range(len(job.items))
    )
    times = ChunkTimes(dispatched_at=accepted_at, claimed_at=started_at, started_at=started_at, ended_at=ended_at)
    end = {"status": job.status, "cost_usd": None if job.cost_micros is None else job.cost_micros / 1e6}
    return [
        (accepted_at, accepted(job_id, job)),
        (accepted_at, JobRouted(n=1, engine=job.engine, chunk_items=1, policy="static")),
        (
            ended_at,
            ItemsCompleted(
                epoch=1, chunk_id=f"{job_id}/0/1/0-0", engine=job.engine, worker_id="w", results=results, times=times
            ),
        ),
        (
            ended_at,
            JobEnded(
                content_hash=job.content_hash,
                event_type=f"eldermesh.job.{job.status}.v1",
                ended_at=ended_at,
                end=orjson.dumps(end).decode(),
                traceparent=traceparent(job_id),
            ),
        ),
    ]


def accepted(job_id: str, job: PastJob, *, advise_within_ms: int = 0) -> JobAccepted:
    """The acceptance alone."""
    submit = {"workload": job.workload, "items": list(job.items), "options": dict(job.options)}
    return JobAccepted(
        inbox=InboxRecord(topic="jobs", partition=0, offset=0),
        original=orjson.dumps(submit).decode(),
        content_hash=job.content_hash,
        terms=JobTerms(
            workload=job.workload,
            tenant="default",
            priority=job.priority,
            advise_within_ms=advise_within_ms,
            expires_after_ms=3_600_000,
        ),
        items_total=len(job.items),
        submitted_at=now_ms(),
        trace_id=trace_id_of(job_id),
        traceparent=traceparent(job_id),
    )


def traceparent(job_id: str) -> str:
    """A context that is the same at every call."""
    return f"00-{trace_id_of(job_id)}-{UUID(job_id).hex[:16]}-01"
