"""The facts of the job history, declared once. Units as in `shared.facts.fact`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, get_args

import orjson
from pydantic import Field, JsonValue

from eldermesh.contract.vocabulary import Decision, Engine, ErrorType, ItemStatus, ReasonText
from shared.facts.fact import (
    AcceptedFact,
    CancelRequested,
    ChunkTimes,
    CommandFact,
    EndedFact,
    EpochMs,
    Fact,
    FactPart,
    TimerFired,
    decode_fact,
)


class JobTerms(FactPart):
    """What a submit asks for, besides its items and options."""

    workload: str
    tenant: str
    submitted_by: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    priority: Literal["interactive", "normal", "batch"] = "normal"
    engine: Literal["auto", "celery", "ray"] = "auto"
    advice: Literal["none", "rules", "full"] = "full"
    advise_within_ms: int = 0
    """How long the decision waits for the panel; 0: not at all, because nobody is asked."""
    active_timeout_ms: int | None = None
    expires_after_ms: int
    """Wall-clock limit from acceptance; never above `max_job_age`."""
    item_timeout_ms: int | None = None
    max_cost_micros: int | None = None
    max_failed_items: int = 0
    stream: bool = False
    subject: str | None = None
    """The function of a `python` job, the model of a `claude` job: items of one subject take about as long.

    None: nothing is learned of its items, since many run at once, or an earlier release has accepted it.
    """


class JobAccepted(AcceptedFact):
    """Admission found a submit valid. The first of an id makes the job; other content under the id is a conflict."""

    fact_type = "job.accepted"

    terms: JobTerms
    items_total: int | None
    submitted_at: EpochMs
    """Time of the inbox record."""
    trace_id: str
    traceparent: str
    tracestate: str | None = None


class JobCancelRequested(CancelRequested):
    """Somebody asked that the job ends."""

    fact_type = "job.cancel_requested"


class JobTenantCancelRequested(CommandFact):
    """A tenant asked in its own inbox that the job ends. For a job of another tenant it becomes a dead letter."""

    fact_type = "job.tenant_cancel_requested"

    tenant: str
    reason: ReasonText | None = None
    traceparent: str | None = None


class AdviceEntry(FactPart):
    """What one sage said of a job."""

    sage: str
    status: Literal["ok", "late", "failed", "warming"]
    advice: dict[str, JsonValue] = Field(default_factory=dict)


class JobAdvised(Fact):
    """The panel's advice."""

    fact_type = "job.advised"

    entries: tuple[AdviceEntry, ...]


class JobRouted(Fact):
    """The decision where a job runs: engine, chunk size, and why."""

    fact_type = "job.routed"

    n: int
    engine: Engine
    chunk_items: Annotated[int, Field(ge=1)]
    policy: str
    reasons: tuple[str, ...] = ()
    advice: tuple[AdviceEntry, ...] = ()
    """What the router said itself, where the panel did not."""
    alternatives: tuple[dict[str, JsonValue], ...] = ()
    seed: int | None = None


class PlannedChunk(FactPart):
    """One chunk of a new plan: an inclusive range of items, and how often a claim on them has died in a row."""

    first: int
    last: int
    deaths: int


class JobReplanned(Fact):
    """The decision to run the missing items of dead chunks again, under a higher epoch."""

    fact_type = "job.replanned"

    n: int
    stage_index: int = 0
    epoch: int
    replaced: tuple[str, ...]
    chunks: tuple[PlannedChunk, ...]


class JobRefused(Fact):
    """Policy rejects the job before it ran."""

    fact_type = "job.refused"

    n: int
    error_type: ErrorType = "rejected"
    reason: str
    advice: tuple[AdviceEntry, ...] = ()


class JobHeld(Fact):
    """The job waits for a person's decision, at most until `until`."""

    fact_type = "job.held"

    n: int
    reason: str
    until: EpochMs
    remind_at: EpochMs | None = None
    """When people are to be told again, if nobody has decided by then."""
    advice: tuple[AdviceEntry, ...] = ()


class JobDecided(CommandFact):
    """A person's decision on a hold. One that does not count becomes a dead letter of `original`."""

    fact_type = "job.decided"

    decision: Decision
    by: str
    reason: str | None = None


class JobPaused(Fact):
    """The job waits for quota until `until`; its clock stops and no retry is spent.

    Appended by a runner that met the limit and has stopped its run of `chunk_id`: the chunk goes back into the plan.
    """

    fact_type = "job.paused"

    reason: str
    until: EpochMs | None = None
    """None where nobody said: then `first_ms` from now, doubled for each pause in a row, up to `longest_ms`."""
    first_ms: Annotated[int, Field(ge=1)] = 30_000
    longest_ms: Annotated[int, Field(ge=1)] = 3_600_000
    chunk_id: str | None = None
    item_index: int | None = None
    """The item that could not be finished, on whose `attempt` the run has spent `cost_micros`."""
    attempt: int = 1
    cost_micros: int | None = None
    content_hash: str | None = None
    """As in `items.completed`."""


class ChunkInterrupted(Fact):
    """A runner that stops in order has stopped its run of a chunk: run what is missing again; nobody died."""

    fact_type = "chunk.interrupted"

    chunk_id: str
    worker_id: str
    content_hash: str | None = None
    """As in `items.completed`."""


class FactResult(FactPart):
    """What became of one item, in the history's integers."""

    item_index: int
    status: ItemStatus
    output: JsonValue = None
    output_url: str | None = None
    error_type: ErrorType | None = None
    error_message: str | None = None
    attempt: int = 1
    duration_ms: int | None = None
    cost_micros: int | None = None


class ItemsCompleted(Fact):
    """Results of items, appended by a runner (or, for an item that kills its runners, by the owner)."""

    fact_type = "items.completed"

    stage_index: int = 0
    epoch: int
    chunk_id: str
    engine: Engine
    worker_id: str
    results: tuple[FactResult, ...]
    times: ChunkTimes | None = None
    content_hash: str | None = None
    """Of the job that was run: results of another job with the same id (from another log) do not count."""
    only_if_current: bool = False
    """It counts only while its chunk stands in the plan. The owner reports so a run that seems dead."""

    def encode(self) -> bytes:
        """The record value. Fields that have their default are left out: there are so many results."""
        return orjson.dumps(self.model_dump(mode="json", exclude_defaults=True))


class JobEnded(EndedFact):
    """The end, as it stands on `jobs.done`; it counts even if all other facts are gone."""

    fact_type = "job.ended"


JobFact = (
    JobAccepted
    | JobCancelRequested
    | JobTenantCancelRequested
    | JobAdvised
    | JobRouted
    | JobReplanned
    | JobRefused
    | JobHeld
    | JobDecided
    | JobPaused
    | ChunkInterrupted
    | ItemsCompleted
    | TimerFired
    | JobEnded
)

JOB_FACTS: dict[str, type[JobFact]] = {fact.fact_type: fact for fact in get_args(JobFact)}

decode_job_fact = partial(decode_fact, JOB_FACTS)
"""Read a fact of `jobs.history` from its type and its bytes. Raises as `decode_fact` does."""
