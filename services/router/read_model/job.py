"""What is known of a job, in plain values. All times are integer milliseconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from eldermesh.contract.ends import JobEnd
from eldermesh.contract.holds import HoldOutcome
from eldermesh.contract.vocabulary import Engine
from shared.facts.jobs import AdviceEntry

JobStateWord = Literal["accepted", "held", "paused", "running", "completed", "failed", "cancelled", "rejected"]
"""`accepted` until a runner has begun; how the job ended once it has."""

JobWaitWord = Literal["advice", "routing", "decision", "quota", "engine"]


@dataclass(frozen=True, slots=True)
class JobHold:
    """A hold. Without `ended_at` the job is held now; `by` is who decided."""

    reason: str
    held_at: int
    until: int
    ended_at: int | None = None
    outcome: HoldOutcome | None = None
    by: str | None = None
    decision_reason: str | None = None


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job as it stands in a list.

    Attributes:
        workload: None when it is unknown.
        items_ended: items with a result, failed ones among them.
        changed_at: when its last fact was written.
        end: once it has ended.
    """

    job_id: str
    state: JobStateWord
    tenant: str | None
    workload: str | None
    labels: Mapping[str, str]
    engine: Engine | None
    items_total: int | None
    items_ended: int
    accepted_at: int
    changed_at: int
    end: JobEnd | None


@dataclass(frozen=True, slots=True)
class UnfinishedJobs:
    """Jobs that have not ended: some of them, how many there are besides, and how many have ended."""

    jobs: Sequence[JobSummary]
    more: int
    ended: int


@dataclass(frozen=True, slots=True)
class Job:
    """An accepted job.

    Attributes:
        waiting_for: None while it runs, and once it has ended.
        waiting_until: at the latest; None without a limit of its own.
        items_running: items without a result in chunks that a runner holds now.
        cost_usd: None while nothing has told what it costs.
        reason: why it waits, or how it ended.
        holds: those that are remembered, the oldest first.
        submitted_by: None when nobody said, and once it has ended.
        end: once it has ended.
    """

    job_id: str
    state: JobStateWord
    waiting_for: JobWaitWord | None
    waiting_until: int | None
    engine: Engine | None
    items_total: int | None
    items_succeeded: int
    items_failed: int
    items_running: int
    accepted_at: int
    cost_usd: float | None
    advice: Sequence[AdviceEntry]
    reason: str | None
    holds: Sequence[JobHold]
    submitted_by: str | None
    trace_id: str
    end: JobEnd | None


@dataclass(frozen=True, slots=True)
class JobAcceptance:
    """That a job was accepted. `state` counts a runner only once it has told a result."""

    content_hash: str
    trace_id: str
    state: JobStateWord
    items_total: int | None


@dataclass(frozen=True, slots=True)
class DecisionEffect:
    """What a decision on a hold has done: whether it `counted`, and the state that the job was in afterwards."""

    counted: bool
    state: JobStateWord
