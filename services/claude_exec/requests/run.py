"""One run of one claimed request: lease, CLI and live output side by side; whatever ends first ends the rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from opentelemetry.trace import Span

from services.claude_exec.executor import Execution
from services.claude_exec.options import ClaudeOptions, judged_options
from services.claude_exec.outcomes.outcome import ClaudeOutcome
from services.claude_exec.requests.answer import answer_of
from services.claude_exec.requests.live_output import LiveOutput, OutputPlace
from services.claude_exec.requests.runner_parts import RequestTask, RunPorts
from services.claude_exec.requests.spec import RequestSpec
from shared.errors import DeadLetterError, RetryableError, StillRunningError
from shared.facts.claude import ClaudeAnswered, ClaudeInterrupted
from shared.facts.jobs import ChunkTimes
from shared.history.facts import fact_headers
from shared.history.runs.lease import SUSPENDED, Lease, LeaseLostError
from shared.history.runs.run_end import end_run
from shared.kafka.topics import CLAUDE_OUTPUT
from shared.logs.exceptions import ends_the_task, told
from shared.retry.patience import with_patience
from shared.telemetry import names
from shared.telemetry.propagation import traceparent_of, tracestate_of
from shared.telemetry.spans import fail_span

_INTERRUPTED_SECONDS = 5.0
"""How long a run that was stopped tries to say that nobody died."""

_log = logging.getLogger(__name__)

INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class _Parts:
    """The tasks of a run."""

    working: asyncio.Task[ClaudeAnswered]
    keeping: asyncio.Task[LeaseLostError]
    flushing: asyncio.Task[None]
    stopping: asyncio.Task[bool]

    @property
    def others(self) -> set[asyncio.Task[Any]]:
        """All but the heartbeat."""
        return {self.working, self.flushing, self.stopping}


class RequestRun:
    """From the claim to the claim's end.

    Args:
        ports: what it works with.
        task: what was claimed.
        spec: what is to be run.
        lease: of the claim.
        claimed_at: milliseconds since 1970.
        run_span: the CLI's spans are to lie below it.
        stopping: set when this process stops.
    """

    def __init__(
        self,
        ports: RunPorts,
        task: RequestTask,
        spec: RequestSpec,
        lease: Lease,
        claimed_at: int,
        run_span: Span,
        stopping: asyncio.Event,
    ) -> None:
        self._ports = ports
        self._task = task
        self._spec = spec
        self._lease = lease
        self._claimed_at = claimed_at
        self._span = run_span
        self._stopping = stopping
        self._traceparent = traceparent_of(run_span) or task.traceparent
        self._tracestate = tracestate_of(run_span) or task.tracestate
        self._execution: Execution | None = None
        self._output = LiveOutput(
            OutputPlace(
                topic=ports.settings.topic(CLAUDE_OUTPUT),
                partition=task.partition,
                request_id=task.request_id,
                attempt=task.chunk.epoch,
                trace_id=spec.trace_id,
                traceparent=self._traceparent,
                tracestate=self._tracestate,
            ),
            ports.facts,
            ports.clock,
            patience_seconds=ports.patience_seconds,
        )

    async def run(self) -> str | None:
        """Run the prompt and append its outcome. Return None, or in one word why the run was killed.

        Raises:
            RetryableError: Kafka did not answer for long, or something that was killed still runs. The claim then dies
                by its lease.
            LeaseLostError: the run lost its claim before the CLI began.
        """
        parts = _Parts(
            asyncio.create_task(self._work()),
            asyncio.create_task(self._lease.keep()),
            asyncio.create_task(self._output.keep_flushing()),
            asyncio.create_task(self._stopping.wait()),
        )
        reason = INTERRUPTED
        failure: RetryableError | None = None
        try:
            await asyncio.wait({*parts.others, parts.keeping}, return_when=asyncio.FIRST_COMPLETED)
            if parts.working.done():
                await self._finish(parts.working.result())
                return None
            if parts.keeping.done():
                reason = parts.keeping.result().reason
            elif parts.flushing.done():
                parts.flushing.result()
        except LeaseLostError as lost:
            if lost.reason != SUSPENDED:
                raise
            reason = lost.reason
        except StillRunningError:
            raise
        except RetryableError as error:
            failure = error
        finally:
            if self._execution is not None:
                self._execution.kill()
            await end_run(parts.others, parts.keeping)
        return await self._given_back(reason, failure) if reason in (INTERRUPTED, SUSPENDED) else reason

    async def _given_back(self, reason: str, failure: RetryableError | None) -> str:
        """Nothing of the run goes on: say so. Why it ended, in one word.

        Raises:
            RetryableError: `failure`, if that could not be said.
        """
        # What another run has begun meanwhile must not be given back.
        if reason == SUSPENDED and not await self._lease.is_still_held(_INTERRUPTED_SECONDS):
            return reason
        is_told = await self._interrupted()
        if failure is not None:
            if not is_told:
                raise failure
            _log.warning("request %s is given back: %s", self._task.request_id, failure)
        return INTERRUPTED

    async def _work(self) -> ClaudeAnswered:
        started_at = self._ports.clock.now_ms()
        outcome = await self._outcome()
        if outcome.outcome == "cancelled":  # nobody but `run` does that, and then nobody waits for this
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
            ended_at=self._ports.clock.now_ms(),
        )
        answer = partial(
            answer_of,
            outcome,
            epoch=self._task.chunk.epoch,
            worker_id=self._ports.worker_id,
            output_records=self._output.records,
            times=times,
            blob_name=f"claude/{self._task.request_id}/{self._task.chunk.epoch}.json",
            blobs=self._ports.blobs,
        )
        fact = await with_patience(answer, seconds=self._ports.patience_seconds, clock=self._ports.clock)
        fact = fact.model_copy(update={"content_hash": self._spec.content_hash})
        await self._append(fact, self._ports.patience_seconds)
        return fact

    async def _outcome(self) -> ClaudeOutcome:
        settings = self._ports.settings
        try:
            options = judged_options(self._spec.options, settings)
        except DeadLetterError as error:  # the settings of this service count, too
            return ClaudeOutcome("invalid", error_type="denied", message=error.reason)

        async def execute() -> ClaudeOutcome | StillRunningError:
            try:
                return await self._executed(options)
            except StillRunningError as error:  # not to be begun again beside itself
                return error

        outcome = await with_patience(execute, seconds=self._ports.patience_seconds, clock=self._ports.clock)
        if isinstance(outcome, StillRunningError):
            raise outcome
        return outcome

    async def _executed(self, options: ClaudeOptions) -> ClaudeOutcome:
        self._execution = Execution(
            self._spec.prompt,
            options,
            self._ports.settings,
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
            # Our own failure concerns this prompt alone.
            _log.exception("request %s: its execution failed", self._task.request_id)
            return ClaudeOutcome("crashed", error_type="internal", message=told(error))

    async def _finish(self, fact: ClaudeAnswered) -> None:
        try:
            await self._lease.finish()
        except LeaseLostError as lost:  # the outcome is in, which is all that matters to the owner
            _log.warning("request %s, attempt %d: %s", self._task.request_id, fact.epoch, lost)

    async def _interrupted(self) -> bool:
        fact = ClaudeInterrupted(
            epoch=self._task.chunk.epoch, worker_id=self._ports.worker_id, content_hash=self._spec.content_hash
        )
        try:
            await self._append(fact, _INTERRUPTED_SECONDS)
        except RetryableError as error:
            _log.warning("request %s counts as a death: %s", self._task.request_id, error)
            return False
        return True

    async def _append(self, fact: ClaudeAnswered | ClaudeInterrupted, patience_seconds: float) -> None:
        task = self._task
        headers = fact_headers(fact.fact_type, task.request_id, self._traceparent, self._tracestate)
        append: Callable[[], Any] = partial(
            self._ports.facts.append,
            task.topic,
            task.partition,
            key=task.request_id,
            value=fact.encode(),
            headers=headers,
        )
        await with_patience(append, seconds=patience_seconds, clock=self._ports.clock)
