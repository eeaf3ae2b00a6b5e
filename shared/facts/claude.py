"""The facts of `claude.history`: one prompt each that is asked for on its own. Units as in `shared.facts.fact`."""

from __future__ import annotations

from functools import partial
from typing import get_args

from pydantic import Field, JsonValue

from eldermesh.contract.claude_output import ClaudeUsage, OutcomeClass
from eldermesh.contract.vocabulary import ErrorType
from shared.facts.fact import (
    AcceptedFact,
    CancelRequested,
    ChunkTimes,
    EndedFact,
    EpochMs,
    FactPart,
    RunFact,
    RunReplanned,
    TimerFired,
    decode_fact,
)


class ClaudeTerms(FactPart):
    """What a request asks for, besides its prompt and options."""

    tenant: str
    submitted_by: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    run_timeout_ms: int | None = None
    expires_after_ms: int
    """Wall-clock limit from acceptance; never above `max_job_age`."""
    stream: bool = True


class ClaudeAccepted(AcceptedFact):
    """Admission found a request valid. The first of an id counts."""

    fact_type = "claude.accepted"

    terms: ClaudeTerms
    submitted_at: EpochMs
    trace_id: str
    traceparent: str
    tracestate: str | None = None


class ClaudeCancelRequested(CancelRequested):
    """Somebody asked that the request ends."""

    fact_type = "claude.cancel_requested"


class ClaudeReplanned(RunReplanned):
    """The decision to run the prompt again under a higher epoch, because the claim on its run is dead."""

    fact_type = "claude.replanned"


class ClaudeInterrupted(RunFact):
    """A runner that stops in order has killed its run of this epoch: run it again; nobody died."""

    fact_type = "claude.interrupted"

    content_hash: str | None = None
    """As in `claude.answered`."""


class ClaudeAnswered(RunFact):
    """The outcome of a run, appended by its runner (or, for a prompt that kills its runners, by the owner)."""

    fact_type = "claude.answered"

    outcome: OutcomeClass
    result: JsonValue = None
    result_url: str | None = None
    error_type: ErrorType | None = None
    message: str | None = None
    model: str | None = None
    turns: int | None = None
    usage: ClaudeUsage | None = None
    cost_micros: int | None = None
    run_ms: int | None = None
    output_records: int | None = None
    times: ChunkTimes | None = None
    content_hash: str | None = None
    """Of the request that was run: the answer to another one with the same id (from another log) does not count."""
    only_if_current: bool = False
    """It counts only while its epoch is the current one. The owner reports so a run that seems dead."""


class ClaudeEnded(EndedFact):
    """The end, as it stands on `claude.output`; it counts even if all other facts are gone."""

    fact_type = "claude.ended"


ClaudeFact = (
    ClaudeAccepted
    | ClaudeCancelRequested
    | ClaudeReplanned
    | ClaudeInterrupted
    | ClaudeAnswered
    | TimerFired
    | ClaudeEnded
)

CLAUDE_FACTS: dict[str, type[ClaudeFact]] = {fact.fact_type: fact for fact in get_args(ClaudeFact)}

decode_claude_fact = partial(decode_fact, CLAUDE_FACTS)
"""Read a fact of `claude.history` from its type and its bytes. Raises as `decode_fact` does."""
