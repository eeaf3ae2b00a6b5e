"""What the verbs answer with `--json`, as the contract has it. Times are RFC 3339 texts, durations seconds.

What the contract does not name is added at the end of an answer, and null where it does not apply.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from eldermesh.contract.claude_output import ClaudeEnd, ClaudeOutput
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.holds import HoldOutcome
from eldermesh.contract.results import JobProgress
from eldermesh.contract.vocabulary import DeadLetterType, Decision, Engine, ErrorType, JobId
from services.router.read_model.job import JobStateWord, JobWaitWord

StateWord = Literal[JobStateWord, "dead"]
Count = Field(ge=0)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ErrorContent(_Answer):
    """A word for scripts, a sentence and a hint for people."""

    error_type: str
    message: str
    hint: str | None


class ErrorAnswer(_Answer):
    """Why a verb failed, on standard error."""

    error: ErrorContent


class SubmitAnswer(_Answer):
    """Whether the mesh took a submit; `dead`: it refused it, for this reason."""

    job_id: JobId
    state: StateWord
    trace_id: str
    trace_url: str | None
    error_type: DeadLetterType | None = None
    reason: str | None = None


class AskAnswer(_Answer):
    """The mesh took a prompt."""

    request_id: JobId
    state: Literal["accepted"]
    trace_id: str
    trace_url: str | None


class OutputLine(_Answer):
    """A piece of a running prompt's output."""

    kind: Literal["output"] = "output"
    record: ClaudeOutput


class RequestEndLine(_Answer):
    """The end of a prompt; nothing follows."""

    kind: Literal["end"] = "end"
    record: ClaudeEnd


AskLine = OutputLine | RequestEndLine


class HoldStatus(_Answer):
    """A hold of a job; what comes last is null while it goes on."""

    reason: str
    held_at: str
    until: str
    ended_at: str | None = None
    outcome: HoldOutcome | None = None
    by: str | None = None
    decision_reason: str | None = None


class ItemOfNote(_Answer):
    """An item that is worth a look: the one that ran longest, or the first that failed."""

    item_index: int = Count
    duration_seconds: float | None
    error_type: ErrorType | None = None
    error_message: str | None = None


class JobStatus(_Answer):
    """What is known of a job. A dead one has never been accepted; its `ended_at` is the time of the dead letter.

    `first_error` and `trace_url` are said by `mesh status` alone: the first where the history names it within seconds.
    """

    job_id: JobId
    state: StateWord
    waiting_for: JobWaitWord | None
    waiting_until: str | None
    engine: Engine | None
    items_total: int | None
    items_succeeded: int = Count
    items_failed: int = Count
    items_running: int = Count
    accepted_at: str | None
    ended_at: str | None
    cost_usd: float | None
    advice: list[dict[str, JsonValue]]
    trace_id: str
    error_type: ErrorType | DeadLetterType | None = None
    reason: str | None = None
    holds: list[HoldStatus] = Field(default_factory=list)
    first_error: ItemOfNote | None = None
    trace_url: str | None = None


class StateLine(_Answer):
    """A line of `mesh watch`: the job is in another state, or waits for something else."""

    kind: Literal["state"] = "state"
    record: JobStatus


class ProgressLine(_Answer):
    """A line of `mesh watch`: a record of `jobs.progress`."""

    kind: Literal["progress"] = "progress"
    record: JobProgress


class EndLine(_Answer):
    """The last line of `mesh watch`: the record of `jobs.done`."""

    kind: Literal["end"] = "end"
    record: JobEnd


WatchLine = StateLine | ProgressLine | EndLine


class ListedJob(_Answer):
    """A job of `mesh list`."""

    job_id: JobId
    state: StateWord
    tenant: str
    workload: str
    labels: dict[str, str]
    engine: Engine | None
    items_total: int | None
    items_ended: int = Count
    accepted_at: str
    ended_at: str | None


class ListAnswer(_Answer):
    """A page of jobs, newest first."""

    jobs: list[ListedJob]
    next_cursor: str | None


class DecisionAnswer(_Answer):
    """A hold is over by this decision; `state` is the job's state after it."""

    job_id: JobId
    state: StateWord
    decision: Decision
    by: str
    reason: str | None = None


class CancelAnswer(_Answer):
    """What state the job is in now; `changed`: it had not ended before."""

    job_id: JobId
    state: StateWord
    reason: str | None = None
    changed: bool = True


class TraceSpan(_Answer):
    """A span; those without a parent begin the trace."""

    span_id: str
    parent_span_id: str | None
    name: str
    service_name: str
    start_at: str
    duration_seconds: float
    status: Literal["unset", "ok", "error"]


class TraceAnswer(_Answer):
    """The spans of a trace by start time."""

    trace_id: str
    spans: list[TraceSpan]


class WhySegment(_Answer):
    """How much of a job's time went where."""

    name: Literal["admission", "decision", "hold", "pause", "queue", "run", "end"]
    seconds: float = Field(ge=0)


class WhyAnswer(_Answer):
    """Where a job's time went; the segments sum to the total, to the millisecond."""

    job_id: JobId
    total_seconds: float = Field(ge=0)
    segments: list[WhySegment]
    advice: list[dict[str, JsonValue]]
    engine: Engine | None = None
    holds: list[HoldStatus] = Field(default_factory=list)
    slowest_item: ItemOfNote | None = None
    first_error: ItemOfNote | None = None
    items_not_run: int | None = Field(None, description="Items without a result, once the job has ended.")


class DeadLetterAnswer(_Answer):
    """A dead letter. `topic`, `partition`, `offset` are the original's; the original itself only in `mesh dlq show`."""

    position: str = Field(description="Where it lies on `jobs.dead`: partition/offset.")
    recorded_at: str
    key: str | None
    error_type: DeadLetterType
    reason: str
    topic: str
    partition: int
    offset: int
    traceparent: str | None
    size_bytes: int = Count
    headers: list[tuple[str, str]] | None = None
    value: str | None = Field(None, description="The original, if it is UTF-8.")
    value_base64: str | None = None


class DeadLetterList(_Answer):
    """A page of dead letters, newest first."""

    records: list[DeadLetterAnswer]
    next_cursor: str | None


class BreachAnswer(_Answer):
    """A broken promise: the number of the invariant in the contract (0: the form of a record)."""

    invariant: int
    job_id: str | None
    detail: str


class RequestLedger(_Answer):
    """The same for prompts on their own: those accepted, their ends on `claude.output`."""

    accepted: int = Count
    ended: int = Count
    missing: int = Count
    differing_ends: int = Count
    missing_requests: list[str] = Field(description="The first hundred of what is missing.")


class AuditAnswer(_Answer):
    """The ledger. `missing` counts jobs that were accepted, and submits that were not refused, without an end."""

    accepted: int = Count
    ended: int = Count
    missing: int = Count
    differing_ends: int = Count
    identical_duplicates: int = Count
    items_expected: int = Count
    items_counted: int = Count
    breaches: list[BreachAnswer]
    missing_jobs: list[str] = Field(description="The first hundred of what is missing.")
    requests: RequestLedger


class LeftOutAnswer(_Answer):
    """Files, or directories with all below them, that were not read for one reason."""

    reason: str
    count: int = Count
    names: list[str] = Field(description="The first twenty; what cannot be printed in a name is escaped.")


class IndexAnswer(_Answer):
    """What is indexed of a collection now, and what changed; files of before that are gone are removed."""

    files_total: int = Count
    files_changed: int = Field(ge=0, description="New or different, and sent.")
    passages_total: int = Count
    duration_seconds: float = Field(ge=0)
    collection: str
    files_removed: int = Count
    files_skipped: int = Field(ge=0, description="Binary, too large, no regular file, or not to be read.")
    skipped: list[LeftOutAnswer]
    unreadable: list[LeftOutAnswer] = Field(
        description="What could not be read this time: what was indexed of it, or below it, stays. Exit status 1."
    )


class NoteAnswer(_Answer):
    """A note for the sage knowledge; of `workload` and `tenant` null means all."""

    note_id: str
    text: str
    workload: str | None
    tenant: str | None
    by: str | None
    added_at: str


class NoteList(_Answer):
    """All notes, newest first."""

    notes: list[NoteAnswer]


class NoteRemoved(_Answer):
    """The note is no more."""

    note_id: str
    removed: Literal[True] = True


class RefusedTopic(_Answer):
    """A topic that would break a promise, and which."""

    name: str
    reason: str


class TopicsAnswer(_Answer):
    """What became of each topic, by full name."""

    created: list[str]
    unchanged: list[str]
    refused: list[RefusedTopic]


class ChannelAnswer(_Answer):
    """Whether a channel took a test message, and if not, why."""

    name: str
    ok: bool
    error_message: str | None


class NotifyTestAnswer(_Answer):
    """What became of a test message on each channel."""

    channels: list[ChannelAnswer]


class Check(_Answer):
    """What a check found, and what to do about it."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    hint: str | None


class DoctorAnswer(_Answer):
    """Whether no check failed, and all of them."""

    ok: bool
    checks: list[Check]


class VersionAnswer(_Answer):
    """Of the program, of the public contract, of the fold of histories."""

    version: str
    contract_version: int
    fold_version: int
