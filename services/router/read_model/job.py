"""The answers of the read model, in plain values. All times are integer milliseconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from eldermesh.contract.ends import JobEnd
from eldermesh.contract.holds import HoldOutcome
from eldermesh.contract.vocabulary import Engine
from shared.facts.jobs import AdviceEntry

JobStateWord = Literal["accepted", "held", "paused", "running", "completed", "failed", "cancelled", "rejected"]
"""`accepted` until a runner has begun; once the job has ended, how it ended."""

JobWaitWord = Literal["advice", "routing", "decision", "quota", "engine"]


@dataclass(frozen=True, slots=True)
class JobHold:
    """A hold; without `ended_at` the job is held now. `by` decided."""

    reason: str
    held_at: int
    until: int
    ended_at: int | None = None
    outcome: HoldOutcome | None = None
    by: str | None = None
    decision_reason: str | None = None


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job in a list.

    Attributes:
        workload: None when it is unknown.
        items_ended: items with a result, including failed ones.
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
    end: JobEnd | None


@dataclass(frozen=True, slots=True)
class UnfinishedJobs:
    """Jobs that have not ended: some of them, how many more there are, and how many have ended."""

    jobs: Sequence[JobSummary]
    more: int
    ended: int


@dataclass(frozen=True, slots=True)
class Job:
    """An accepted job.

    Attributes:
        waiting_for: None while it runs, and once it has ended.
        waiting_until: the latest end of the wait; None without a limit.
        items_running: items without a result in chunks that a runner holds now.
        cost_usd: None until a cost was reported.
        reason: why it waits, or why it ended.
        holds: the remembered ones, oldest first.
        submitted_by: None if unknown, and once the job has ended.
        tenant: None once the job has ended.
        end: None until the job has ended.
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
    tenant: str | None
    trace_id: str
    end: JobEnd | None


@dataclass(frozen=True, slots=True)
class JobAcceptance:
    """That a job was accepted. `state` is `running` only after the first result."""

    content_hash: str
    trace_id: str
    state: JobStateWord
    items_total: int | None


@dataclass(frozen=True, slots=True)
class DecisionEffect:
    """The effect of a decision on a hold: whether it `counted`, and the state of the job now."""

    counted: bool
    state: JobStateWord
