"""One prompt, from options to outcome, through the real CLI."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import replace

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKError, ResultMessage, query

from eldermesh.launch import users_environment
from eldermesh.shield import to_its_end
from services.claude_exec.cli.command import child_environment, cli_command
from services.claude_exec.cli.run_directory import NoRunDirectoryError, run_directory
from services.claude_exec.cli.transport import CliTransport, OnMessage, StoppedError
from services.claude_exec.options import ClaudeOptions
from services.claude_exec.outcomes.classification import classify
from services.claude_exec.outcomes.evidence import Evidence
from services.claude_exec.outcomes.outcome import ClaudeOutcome
from services.claude_exec.prompt_metrics import count_prompt
from shared.backoff.os_errors import passes
from shared.errors import ConfigurationError, RetryableError
from shared.history.clock import SystemClock
from shared.settings import Settings
from shared.telemetry import names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import record_span

_END_SECONDS = 60.0
"""More than the SDK needs to end a conversation; most of that is closing the transport, which is bounded."""

_log = logging.getLogger(__name__)


class Execution:
    """One prompt that runs once.

    A CLI that dies without a result is started again, up to `max_item_deaths` CLIs in all; no other failure is retried
    here. The CLI itself retries requests that the API refuses temporarily, `claude_max_retries` times.

    Args:
        prompt: passed to the CLI verbatim; commands and file references in it are not expanded.
        options: already validated.
        settings: endpoint, limits.
        timeout_seconds: wall clock for all attempts together; the shortest of this, the options' and the settings'
            counts.
        traceparent: of the parent of the CLI's spans.
        tracestate: belongs to `traceparent`.
        on_message: gets each message of the CLI; an exception from it ends the run.
        longest_wait_seconds: if the API tells the CLI to wait for longer than this, the run ends as `rate_limited` or
            `overloaded` with the API's time. None: no limit.
    """

    def __init__(
        self,
        prompt: str,
        options: ClaudeOptions,
        settings: Settings,
        *,
        timeout_seconds: float | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
        on_message: OnMessage | None = None,
        longest_wait_seconds: float | None = None,
    ) -> None:
        self._prompt = prompt
        self._options = options
        self._settings = settings
        self._traceparent = traceparent
        self._tracestate = tracestate
        self._on_message = on_message
        self._longest_wait_seconds = longest_wait_seconds
        self._transport: CliTransport | None = None
        self._killed = False
        wanted = (timeout_seconds, options.timeout_seconds, settings.claude_timeout_seconds)
        self._seconds = min(seconds for seconds in wanted if seconds is not None)

    @property
    def pid(self) -> int | None:
        """Process id of the CLI that runs now, if any."""
        return None if self._transport is None else self._transport.pid

    def kill(self) -> None:
        """Kill the CLI and all its descendants, from another task; the outcome is `cancelled`."""
        self._killed = True
        if self._transport is not None:
            self._transport.kill()

    async def run(self) -> ClaudeOutcome:
        """Run the prompt. When this returns or raises, its processes and its directory are gone.

        Raises:
            RetryableError: this machine has no process, directory or space left for a CLI.
        """
        outcome = await self._run()
        count_prompt(outcome)
        return outcome

    async def _run(self) -> ClaudeOutcome:
        began = time.monotonic()
        deadline = asyncio.get_running_loop().time() + self._seconds
        attempt, outcome = 0, ClaudeOutcome("cancelled", error_type="cancelled", message="killed")
        while attempt < self._settings.max_item_deaths and not self._killed:
            attempt += 1
            try:
                evidence = await self._attempt(attempt, deadline)
            except ConfigurationError as error:
                return ClaudeOutcome("auth", error_type="auth", message=str(error), attempts=attempt)
            except NoRunDirectoryError as error:
                return ClaudeOutcome("crashed", error_type="internal", message=str(error), attempts=attempt)
            except OSError as error:
                if passes(error):
                    raise RetryableError(f"no room for a CLI run: {error}") from error
                return ClaudeOutcome("crashed", error_type="internal", message=str(error), attempts=attempt)
            outcome = classify(evidence, has_schema=self._options.output_schema is not None)
            if outcome.outcome != "crashed" or outcome.error_type != "crashed" or evidence.result is not None:
                break
            _log.warning("attempt %d of %d: %s", attempt, self._settings.max_item_deaths, outcome.message)
        if attempt > 1 and outcome.outcome == "crashed":
            outcome = replace(outcome, message=f"{outcome.message}; tried {attempt} times")
        return replace(outcome, attempts=max(1, attempt), duration_seconds=time.monotonic() - began)

    async def _attempt(self, attempt: int, deadline: float) -> Evidence:
        evidence = Evidence()
        async with run_directory(self._settings) as place:
            cwd = self._options.cwd or place.work
            start = _Start(attempt, self._traceparent, self._tracestate)
            transport = CliTransport(
                cli_command(self._options, place, self._settings),
                environment=child_environment(
                    users_environment(),
                    self._settings,
                    place,
                    cwd,
                    traceparent=self._traceparent,
                    tracestate=self._tracestate,
                ),
                cwd=cwd,
                settings=self._settings,
                on_start=start.succeeded,
                on_message=self._on_message,
                held_fd=place.lock_fd,
            )
            self._transport = transport
            if self._killed:  # before there was a transport to kill
                transport.kill()
            # Its own task: the SDK must be cancelled only once, and never while it ends.
            conversation = asyncio.create_task(self._converse(transport, evidence))
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.shield(conversation)
            except TimeoutError:
                evidence.timed_out = True
                evidence.stop_message = f"it took longer than {self._seconds:g} s"
            except StoppedError as stopped:
                evidence.stopped, evidence.stop_message = stopped.why, str(stopped)
            except ClaudeSDKError as error:
                evidence.failure = str(error)
            finally:
                conversation.cancel()
                await to_its_end(self._end(conversation, transport))
                self._transport = None
            evidence.killed = self._killed
            evidence.exit_status, evidence.stderr_tail = transport.status, transport.stderr_tail
            start.ended(evidence)
        return evidence

    async def _converse(self, transport: CliTransport, evidence: Evidence) -> None:
        # The SDK does only the protocol; the transport has the command line and the environment.
        messages = query(prompt=self._prompt, options=ClaudeAgentOptions(verbatim_prompts=True), transport=transport)
        async with aclosing(messages) as conversation:  # type: ignore[type-var]  # it is an async generator
            async for message in conversation:
                evidence.take(message)
                wait = evidence.retry_after_seconds or 0.0
                if evidence.waits_for and self._longest_wait_seconds is not None and wait > self._longest_wait_seconds:
                    raise StoppedError("waits", f"status {evidence.waits_for}: the API is to be asked in {wait:.0f} s")
                if isinstance(message, ResultMessage):
                    return

    @staticmethod
    async def _end(conversation: asyncio.Task[None], transport: CliTransport) -> None:
        try:
            await asyncio.wait({conversation}, timeout=_END_SECONDS)
            if conversation.done() and not conversation.cancelled() and (error := conversation.exception()) is not None:
                _log.debug("a conversation ended with %r", error)
        finally:
            await transport.close()


class _Start:
    """The span of a CLI's start: until its first message, or its end without one."""

    def __init__(self, attempt: int, traceparent: str | None, tracestate: str | None) -> None:
        self._context = context_from(traceparent, tracestate)
        self._attempt = attempt
        self._began_ms = SystemClock().now_ms()
        self._recorded = False

    def succeeded(self) -> None:
        """The CLI sent its first message."""
        self._record(None)

    def ended(self, evidence: Evidence) -> None:
        """The run is over; without a first message the span records an error."""
        if not self._recorded:
            self._record(evidence.stop_message or evidence.failure or "ended before its first word")

    def _record(self, error: str | None) -> None:
        self._recorded = True
        record_span(
            names.START_CLI,
            start_ms=self._began_ms,
            end_ms=SystemClock().now_ms(),
            context=self._context,
            attributes={names.CLI_ATTEMPT: self._attempt},
            error=error,
        )
