"""What the check of the contract finds, and what it knows of one job."""

from __future__ import annotations

from dataclasses import dataclass, field

from eldermesh.contract.ends import JobEnd
from eldermesh.contract.inbox import InboxSubmit
from eldermesh.contract.results import JobProgress

FORM = 0
"""`Breach.invariant` of a record that has not the form of the contract."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken promise: the invariant's number in the contract (0: the form of a record), the job, what is wrong."""

    invariant: int
    job_id: str | None
    detail: str


@dataclass(slots=True)
class JobRecords:
    """All that the topics say of one job, repeats left out. `refused` are submits that have a dead letter."""

    job_id: str
    progress: dict[int, JobProgress] = field(default_factory=dict)
    ends: list[JobEnd] = field(default_factory=list)
    accepted: list[InboxSubmit] = field(default_factory=list)
    refused: list[InboxSubmit] = field(default_factory=list)

    @property
    def end(self) -> JobEnd | None:
        """The first end; more than one are a breach, unless they are the same."""
        return self.ends[0] if self.ends else None
