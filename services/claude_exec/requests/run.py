"""What a claimed run of a request does: the prompt through the CLI, its live output published meanwhile."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial

from opentelemetry.trace import Span

from services.claude_exec.executor import Execution
from services.claude_exec.options import ClaudeOptions, judged_options
from services.claude_exec.outcomes.outcome import ClaudeOutcome
from services.claude_exec.requests.answer import answer_of
from services.claude_exec.requests.live_output import LiveOutput, OutputPlace
from services.claude_exec.requests.spec import RequestSpec
from shared.backoff.patience import with_patience
from shared.blobs.store import BlobStore
from shared.errors import DeadLetterError, RetryableError, StillRunningError
from shared.facts.claude import ClaudeInterrupted
from shared.facts.fact import ChunkTimes
from shared.history.chunk_id import ChunkId
from shared.history.clock import Clock, SystemClock
from shared.history.fact_appender import FactSink
from shared.history.runs.claimed_run import INTERRUPTED_SECONDS, ClaimedRun
from shared.history.runs.claims import ClaimStore
from shared.history.runs.lease import Lease
from shared.history.runs.run_facts import RunFacts
from shared.kafka.topics import CLAUDE_OUTPUT
from shared.logs.exceptions import ends_the_task, told
from shared.settings import Settings
from shared.telemetry import names
from shared.telemetry.propagation import traceparent_of, tracestate_of
from shared.telemetry.spans import fail_span

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRunnerParts:
    """The parts of a runner.

    Attributes:
        settings: lease, heartbeat, and what CLIs may take.
        worker_id: id of the runner in claims and facts; without spaces.
        claims: of `claude.history`.
        facts: appends records to any topic.
        blobs: where large results go.
        clock: wall time for records, monotonic time for the lease.
        patience_seconds: how long a run with a claim retries Kafka and the blob store.
    """

    settings: Settings
    worker_id: str
    claims: ClaimStore
    facts: FactSink
    blobs: BlobStore
    clock: Clock = field(default_factory=SystemClock)
    patience_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class RequestTask:
    """A request to run; `topic` is the history's full name, `dispatched_at` milliseconds since 1970."""

    topic: str
    partition: int
    chunk: ChunkId
    dispatched_at: int
    traceparent: str | None
    tracestate: str | None

    @property
    def request_id(self) -> str:
        """Id of the request."""
        return self.chunk.job_id


class RequestRun:
    """From the claim to the claim's end.

    Args:
        parts: what it works with.
        task: what was claimed.
        spec: what is to be run.
        lease: of the claim.
        claimed_at: milliseconds since 1970.
        run_span: parent of the CLI's spans.
        stopping: set when this process stops.
    """

    def __init__(
        self,
        parts: RequestRunnerParts,
        task: RequestTask,
        spec: RequestSpec,
        lease: Lease,
        claimed_at: int,
        run_span: Span,
        stopping: asyncio.Event,
    ) -> None:
        self._parts = parts
        self._task = task
        self._spec = spec
        self._lease = lease
        self._claimed_at = claimed_at
        self._span = run_span
        self._stopping = stopping
        self._traceparent = traceparent_of(run_span) or task.traceparent
        self._tracestate = tracestate_of(run_span) or task.tracestate
        self._facts = RunFacts(
            parts.facts, parts.clock, task.topic, task.partition, task.request_id, self._traceparent, self._tracestate
        )
        self._execution: Execution | None = None
        self._output = LiveOutput(
            OutputPlace(
                topic=parts.settings.topic(CLAUDE_OUTPUT),
                partition=task.partition,
                request_id=task.request_id,
                attempt=task.chunk.epoch,
                trace_id=spec.trace_id,
                traceparent=self._traceparent,
                tracestate=self._tracestate,
            ),
            parts.facts,
            parts.clock,
            patience_seconds=parts.patience_seconds,
        )

    async def run(self) -> str | None:
        """Run the prompt and append its outcome. Return None, or one word that says why the run was killed.

        Raises:
            RetryableError: Kafka did not answer within the patience, or a killed process still runs. The claim then
                ends with its lease.
        """
        whose = f"request {self._task.request_id}"
        stopped = await ClaimedRun(self, self._lease, self._stopping, whose=whose).run()
        return None if stopped is None else stopped.reason

    async def flush(self) -> None:
        """Publish live output; see `RunWork`."""
        await self._output.keep_flushing()

    def kill(self) -> None:
        """Kill the CLI; see `RunWork`."""
        if self._execution is not None:
            self._execution.kill()

    async def interrupted(self) -> None:
        """Append that the run was interrupted; see `RunWork`."""
        fact = ClaudeInterrupted(
            epoch=self._task.chunk.epoch, worker_id=self._parts.worker_id, content_hash=self._spec.content_hash
        )
        await self._facts.append(fact, patience_seconds=INTERRUPTED_SECONDS)

    async def work(self) -> None:
        """Run the prompt, finish its output, append its outcome; see `RunWork`."""
        started_at = self._parts.clock.now_ms()
        outcome = await self._outcome()
        if outcome.outcome == "cancelled":  # only `run` kills, and then it does not wait for this
            raise RetryableError("the run was killed")
        await self._output.finish()
        self._span.set_attribute(names.REQUEST_OUTCOME, outcome.outcome)
        if outcome.error_type is not None:
            self._span.set_attribute(names.ERROR_TYPE, outcome.error_type)
            fail_span(self._span, outcome.error_type)  # the message may quote the answer
        times = ChunkTimes(
            dispatched_at=self._task.dispatched_at,
            claimed_at=self._claimed_at,
            started_at=started_at,
            ended_at=self._parts.clock.now_ms(),
        )
        answer = partial(
            answer_of,
            outcome,
            epoch=self._task.chunk.epoch,
            worker_id=self._parts.worker_id,
            output_records=self._output.records,
            times=times,
            blob_name=f"claude/{self._task.request_id}/{self._task.chunk.epoch}.json",
            blobs=self._parts.blobs,
        )
        fact = await with_patience(answer, seconds=self._parts.patience_seconds, clock=self._parts.clock)
        fact = fact.model_copy(update={"content_hash": self._spec.content_hash})
        await self._facts.append(fact, patience_seconds=self._parts.patience_seconds)

    async def _outcome(self) -> ClaudeOutcome:
        settings = self._parts.settings
        try:
            options = judged_options(self._spec.options, settings)
        except DeadLetterError as error:  # this service may have other settings than the one that admitted it
            return ClaudeOutcome("invalid", error_type="denied", message=error.reason)

        async def execute() -> ClaudeOutcome | StillRunningError:
            try:
                return await self._executed(options)
            except StillRunningError as error:  # must not start again while it still runs
                return error

        outcome = await with_patience(execute, seconds=self._parts.patience_seconds, clock=self._parts.clock)
        if isinstance(outcome, StillRunningError):
            raise outcome
        return outcome

    async def _executed(self, options: ClaudeOptions) -> ClaudeOutcome:
        self._execution = Execution(
            self._spec.prompt,
            options,
            self._parts.settings,
            timeout_seconds=self._spec.run_timeout_seconds,
            traceparent=self._traceparent,
            tracestate=self._tracestate,
            on_message=self._output.take if self._spec.stream else None,
        )
        self._lease.check()
        try:
            return await self._execution.run()
        except RetryableError:
            raise
        except BaseException as error:
            if ends_the_task(error):
                raise
            # An internal error fails this prompt only.
            _log.exception("request %s: its execution failed", self._task.request_id)
            return ClaudeOutcome("crashed", error_type="internal", message=told(error))
