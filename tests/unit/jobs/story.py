"""A job told fact by fact."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from eldermesh.contract.vocabulary import Decision, ErrorType
from services.router.jobs.chunk_series import Chunk
from services.router.jobs.fold import fold_job
from services.router.jobs.plan import current_chunks
from services.router.jobs.state import JobState
from shared.facts.fact import Fact, InboxRecord
from shared.facts.jobs import FactResult, ItemsCompleted, JobAccepted, JobCancelRequested, JobDecided, JobTerms
from shared.history.facts import FactRecord
from shared.history.machine import Folded

JOB = "00000000-0000-0000-0000-0000000000aa"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
T0 = 1_790_000_000_000
DAY_MS = 86400 * 1000


def inbox(offset: int = 1) -> InboxRecord:
    """Coordinates of an inbox record."""
    return InboxRecord(topic="jobs", partition=0, offset=offset)


def accepted(items: int | None = 4, *, offset: int = 1, content: str = "one", **terms: Any) -> JobAccepted:
    """A submit that admission found valid."""
    submit = {"workload": "python", "items": list(range(items or 0)), "options": {"function": "math:sqrt"}}
    values: dict[str, Any] = {"workload": "python", "tenant": "default", "expires_after_ms": 7 * DAY_MS} | terms
    return JobAccepted(
        inbox=inbox(offset),
        inbox_key_base64="a2V5",
        inbox_headers_base64=(("x", "AAE="), ("dlq_reason", "bm8=")),
        original=orjson.dumps(submit).decode(),
        content_hash=content,
        terms=JobTerms(**values),
        items_total=items,
        submitted_at=T0 - 5,
        trace_id=TRACE_ID,
        traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01",
        tracestate="a=b",
    )


def cancel(reason: str | None = "enough", offset: int = 50) -> JobCancelRequested:
    """A cancel."""
    return JobCancelRequested(inbox=inbox(offset), reason=reason)


def decided(decision: Decision, *, offset: int = 60, by: str = "ann", reason: str | None = None) -> JobDecided:
    """A person's decision."""
    return JobDecided(inbox=inbox(offset), original='{"a": "command"}', decision=decision, by=by, reason=reason)


def succeeded(index: int, output: Any = None, *, attempt: int = 1, micros: int | None = None) -> FactResult:
    """An item that went well."""
    return FactResult(
        item_index=index, status="succeeded", output=output, attempt=attempt, duration_ms=1500, cost_micros=micros
    )


def failed(index: int, error_type: ErrorType = "exception") -> FactResult:
    """An item that did not."""
    return FactResult(item_index=index, status="failed", error_type=error_type, error_message="no")


def results(*made: FactResult, epoch: int = 1, stage: int = 0) -> ItemsCompleted:
    """A runner's fact."""
    chunk = f"{JOB}/{stage}/{epoch}/0-1"
    return ItemsCompleted(stage_index=stage, epoch=epoch, chunk_id=chunk, engine="celery", worker_id="w", results=made)


@dataclass(slots=True)
class Story:
    """The state after each fact; record times are milliseconds after `T0`."""

    state: JobState | None = None
    at: int = 0
    offset: int = 0
    folded: list[Folded[JobState]] = field(default_factory=list)

    def tell(self, *facts: Fact, at: int | None = None) -> Folded[JobState]:
        """Fold facts, all at one time, and return what the last one made."""
        if at is not None:
            self.at = at
        for fact in facts:
            record = FactRecord(self.offset, T0 + self.at, JOB, fact.fact_type, fact.encode())
            self.folded.append(fold_job(self.state, record))
            self.state = self.folded[-1].state
            self.offset += 1
        return self.folded[-1]

    @property
    def job(self) -> JobState:
        """The state, which is there."""
        assert self.state is not None
        return self.state

    @property
    def plan(self) -> tuple[Chunk, ...]:
        """The current chunks."""
        return tuple(current_chunks(self.job.plan, self.job.bitmap))

    def is_held(self) -> bool:
        """Whether it waits for a person."""
        return self.job.hold is not None

    def active_since(self) -> int | None:
        """When its clock was started, if it runs."""
        return self.job.active_since

    @property
    def end(self) -> dict[str, Any]:
        """The end as it is published."""
        assert self.job.end is not None
        value: dict[str, Any] = orjson.loads(self.job.end.value)
        return value

    @property
    def untouched(self) -> JobState:
        """The state without what every fact moves, to see that a fact changed nothing."""
        return replace(self.job, t=0, last_offset=0)
