"""The state of a job, folded from its facts in log order. All times are integer milliseconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from pydantic import TypeAdapter

from eldermesh.contract.holds import HoldOutcome
from eldermesh.contract.vocabulary import EndStatus, Engine
from services.router.jobs.chunk_series import Chunk
from services.router.jobs.cost_keys import CostKeys
from services.router.jobs.plan import Plan, current_chunk
from shared.facts.jobs import AdviceEntry, JobTerms
from shared.history.accepted_state import AcceptedState
from shared.history.chunk_id import ChunkId, chunk_text
from shared.history.end import End

STAGE = 0
"""The only stage until pipelines exist."""


@dataclass(frozen=True, slots=True)
class Timer:
    """An armed timer; only a fact with this arming counts."""

    arming: int
    due: int


@dataclass(frozen=True, slots=True)
class Wait:
    """A hold (for a person) or a pause (for quota)."""

    reason: str
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class PastWait:
    """A past hold or pause, from `since` to `ended_at`. Only holds have an outcome.

    `by` decided, with the command at the coordinates `decision`.
    """

    kind: Literal["hold", "pause"]
    reason: str
    since: int
    until: int
    ended_at: int
    outcome: HoldOutcome | None = None
    by: str | None = None
    decision_reason: str | None = None
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class TenantStub:
    """A cancel from the inbox of a tenant that came before the job."""

    at: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class JobState(AcceptedState[EndStatus]):
    """The state of one job."""

    job_id: str
    end: End[EndStatus] | None = field(default=None, kw_only=True)  # declared again: pydantic reads no type variable
    terms: JobTerms | None = None
    items_total: int | None = None
    decisions: int = 0
    engine: Engine | None = None
    approved: bool = False
    advice: tuple[AdviceEntry, ...] = ()
    epoch: int = 0
    plan: Plan = ()
    bitmap: bytes = b""
    succeeded: int = 0
    failed: int = 0
    sequence: int = 0
    timers: Mapping[str, Timer] = field(default_factory=dict)
    armings: Mapping[str, int] = field(default_factory=dict)
    active_ms: int = 0
    active_since: int | None = None
    hold: Wait | None = None
    pause: Wait | None = None
    decided: tuple[str, ...] = ()
    """Coordinates of the newest decisions, whether they counted or not."""
    decided_up_to: Mapping[str, int] = field(default_factory=dict)
    """The highest offset of earlier decisions, by `topic/partition` of the inbox."""
    waits: tuple[PastWait, ...] = ()
    pauses: int = 0
    """Pauses since the last item ended."""
    cost_micros: int | None = None
    cost_keys: CostKeys = field(default_factory=dict)
    """The attempts that are in the cost: their items, by `epoch/attempt`."""
    tenant_stubs: Mapping[str, TenantStub] = field(default_factory=dict)
    """By tenant, while nothing is accepted: each counts for a job of that tenant alone."""

    @property
    def subject(self) -> str:
        """Its id."""
        return self.job_id

    def current(self, identity: str) -> Chunk | None:
        """The chunk of the plan with this identity; None if none has it, or it has finished."""
        try:
            first = ChunkId.parse(identity).first
        except ValueError:
            return None
        chunk = current_chunk(self.plan, self.bitmap, first)
        return chunk if chunk is not None and self.identity(chunk) == identity else None

    def identity(self, chunk: Chunk) -> str:
        """`str(chunk_id(chunk))`, in a third of the time."""
        return chunk_text(self.job_id, STAGE, chunk.epoch, chunk.first, chunk.last)

    def chunk_id(self, chunk: Chunk) -> ChunkId:
        """The identity of a chunk of this job."""
        return ChunkId(self.job_id, STAGE, chunk.epoch, chunk.first, chunk.last)


@cache
def state_adapter() -> TypeAdapter[JobState]:
    """Serialiser of states."""
    return TypeAdapter(JobState)
