"""What people, admission and unseen runners write into a world's history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import orjson

from eldermesh.contract.canonical import content_hash
from eldermesh.contract.vocabulary import Decision, Priority
from shared.facts.fact import Fact, InboxRecord
from shared.facts.jobs import (
    AdviceEntry,
    FactResult,
    ItemsCompleted,
    JobAccepted,
    JobAdvised,
    JobCancelRequested,
    JobDecided,
    JobPaused,
    JobTerms,
)
from tests.property.memory_log import MemoryLog
from tests.property.virtual_loop import WorldClock

BY_ADVICE = "advice"
"""Why a world's policy refuses a job whose advice is `critical`."""

_MAX_JOB_AGE_MS = 30 * 86400 * 1000


def job_id(number: int) -> str:
    """The id of a world's job."""
    return str(UUID(int=number))


@dataclass(slots=True)
class Submitted:
    """One submit that admission found valid."""

    job: str
    inbox: str
    content_hash: str


@dataclass(slots=True, kw_only=True)
class FactWriter:
    """Appends facts directly, as admission does once it has found a command valid."""

    clock: WorldClock = field(init=False)
    log: MemoryLog = field(init=False)
    submitted: list[Submitted] = field(default_factory=list)
    _inbox_offset: int = 0

    def fact(self, job: str, fact: Fact) -> int:
        """Append a fact; its offset."""
        return self.log.write(job, fact.fact_type, fact.encode())

    def submit(
        self,
        number: int,
        items: Sequence[str] = ("a", "b", "c"),
        *,
        labels: dict[str, str] | None = None,
        max_failed: int = 0,
        active_timeout_ms: int | None = None,
        expires_after_ms: int = _MAX_JOB_AGE_MS,
        max_cost_micros: int | None = None,
        submitted_by: str | None = None,
        advise_within_ms: int = 0,
        priority: Priority = "normal",
        tenant: str = "default",
    ) -> str:
        """A submit, as admission writes it down; the job's id."""
        job = job_id(number)
        terms = JobTerms(
            workload="python",
            tenant=tenant,
            priority=priority,
            submitted_by=submitted_by,
            labels=labels or {},
            active_timeout_ms=active_timeout_ms,
            expires_after_ms=expires_after_ms,
            max_failed_items=max_failed,
            max_cost_micros=max_cost_micros,
            advise_within_ms=advise_within_ms,
        )
        content = {"workload": "python", "items": list(items), "labels": terms.labels}
        accepted = JobAccepted(
            inbox=self.inbox(),
            original=orjson.dumps(content).decode(),
            content_hash=content_hash(content),
            terms=terms,
            items_total=len(items),
            submitted_at=self.clock.now_ms(),
            trace_id=UUID(job).hex,
            traceparent=f"00-{UUID(job).hex}-00000000000000a1-01",
        )
        self._accept(job, accepted)
        return job

    def repeat(self, number: int, *, redelivered: bool = False) -> None:
        """The first submit of a job again: as a record of its own, or the same record once more."""
        job = job_id(number)
        first = next(r for r in self.log.records if r.key == job and r.fact_type == JobAccepted.fact_type)
        accepted = JobAccepted.model_validate_json(first.value)
        if not redelivered:
            accepted = accepted.model_copy(update={"inbox": self.inbox()})
        self._accept(job, accepted)

    def _accept(self, job: str, accepted: JobAccepted) -> None:
        self.submitted.append(Submitted(job, accepted.inbox.coordinates, accepted.content_hash))
        self.fact(job, accepted)

    def inbox(self) -> InboxRecord:
        """Coordinates that no other record has."""
        self._inbox_offset += 1
        return InboxRecord(topic="world.jobs", partition=0, offset=self._inbox_offset)

    def cancel(self, number: int) -> None:
        """Somebody cancels."""
        self.fact(job_id(number), JobCancelRequested(inbox=self.inbox(), reason="enough"))

    def decide(self, number: int, *, approve: bool, inbox: InboxRecord | None = None, by: str = "ann") -> InboxRecord:
        """Somebody decides on a hold; the coordinates of the command."""
        inbox = inbox or self.inbox()
        decision: Decision = "approve" if approve else "reject"
        self.fact(job_id(number), JobDecided(inbox=inbox, original="{}", decision=decision, by=by))
        return inbox

    def advise(self, number: int, risk: str) -> None:
        """The panel speaks; `critical` is what a world's policy refuses."""
        entries = (AdviceEntry(sage="incident", status="ok", advice={"risk": risk}),)
        self.fact(job_id(number), JobAdvised(entries=entries))

    def pause(self, number: int, seconds: float) -> None:
        """A runner met a quota."""
        until = self.clock.now_ms() + round(seconds * 1000)
        self.fact(job_id(number), JobPaused(reason="quota", until=until))

    def results(self, number: int, *indexes: int, epoch: int = 1, attempt: int = 1, micros: int | None = None) -> int:
        """Results, as from a runner that nobody sees."""
        made = tuple(
            FactResult(item_index=i, status="succeeded", output="unseen", attempt=attempt, cost_micros=micros)
            for i in indexes
        )
        chunk = f"{job_id(number)}/0/{epoch}/{indexes[0]}-{indexes[-1]}"
        fact = ItemsCompleted(epoch=epoch, chunk_id=chunk, engine="celery", worker_id="unseen", results=made)
        return self.fact(job_id(number), fact)
