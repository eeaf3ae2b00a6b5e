"""One prompt, from options to outcome, through the real CLI."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKError, ResultMessage, query

from eldermesh.launch import users_environment
from eldermesh.shield import to_its_end
from services.claude_exec.cli.command import cli_command
from services.claude_exec.cli.environment import child_environment
from services.claude_exec.cli.run_directory import NoRunDirectoryError, RunDirectory, run_directory
from services.claude_exec.cli.transport import CliTransport, Limits, OnMessage, StoppedError
from services.claude_exec.options import ClaudeOptions
from services.claude_exec.outcomes.classification import classify
from services.claude_exec.outcomes.evidence import Evidence
from services.claude_exec.outcomes.outcome import ClaudeOutcome
from shared.errors import ConfigurationError, RetryableError
from shared.retry.os_errors import passes
from shared.settings import Settings
from shared.telemetry import names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import record_span

_END_SECONDS = 60.0
"""More than the SDK needs to end a conversation: the transport's ending, which is bounded, is most of it."""

_log = logging.getLogger(__name__)


class Execution:
    """One prompt that runs once.

    A CLI that dies without a result is started again, `max_item_deaths` CLIs in all; nothing else is tried twice here.
    What the API refuses for the moment the CLI itself asks again, `claude_max_retries` times.

    Args:
        prompt: goes to the CLI as it is: no command, no reference to a file is read in it.
        options: judged before.
        settings: endpoint, limits.
        timeout_seconds: wall clock beside that of the options; the shorter counts, for all attempts together.
        traceparent: of the span that the CLI's spans shall lie below.
        tracestate: what goes with it.
        on_message: is given each message of the CLI; what it raises ends the run.
        longest_wait_seconds: a CLI that is to wait for the API longer than this is ended: `rate_limited` or
            `overloaded`, with the time that the API has said. None: it may wait as long as it likes.
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
        """Of the CLI that runs now; None while there is none."""
        return None if self._transport is None else self._transport.pid

    def kill(self) -> None:
        """End it at once, from another task: the CLI and all it started are killed, the outcome is `cancelled`."""
        self._killed = True
        if self._transport is not None:
            self._transport.kill()

    async def run(self) -> ClaudeOutcome:
        """Run it to its outcome. When this returns or raises, no process and no directory of it is left.

        Raises:
            RetryableError: this machine has no process, directory or space left for a CLI.
        """
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
                cli_command(self._options, place, cli=self._settings.claude_cli),
                environment=self._environment(place, cwd),
                cwd=cwd,
                limits=Limits.of(self._settings),
                on_start=start.succeeded,
                on_message=self._on_message,
                held_fd=place.lock_fd,
            )
            self._transport = transport
            if self._killed:  # before there was anything to kill
                transport.kill()
            # A task of its own, so that it is cancelled once and never in its own ending: the SDK cannot bear more.
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
        # Only the protocol is the SDK's part here; the command line and the environment are the transport's.
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

    def _environment(self, place: RunDirectory, cwd: Path) -> dict[str, str]:
        return child_environment(
            users_environment(), self._settings, place, cwd, traceparent=self._traceparent, tracestate=self._tracestate
        )


class _Start:
    """The start of a CLI as a span: from here to its first word, or to its end without one."""

    def __init__(self, attempt: int, traceparent: str | None, tracestate: str | None) -> None:
        self._context = context_from(traceparent, tracestate)
        self._attempt = attempt
        self._began_ms = _now_ms()
        self._recorded = False

    def succeeded(self) -> None:
        """The CLI said its first word."""
        self._record(None)

    def ended(self, evidence: Evidence) -> None:
        """The run is over; if it never began, that is what the span says."""
        if not self._recorded:
            self._record(evidence.stop_message or evidence.failure or "ended before its first word")

    def _record(self, error: str | None) -> None:
        self._recorded = True
        record_span(
            names.START_CLI,
            start_ms=self._began_ms,
            end_ms=_now_ms(),
            context=self._context,
            attributes={names.CLI_ATTEMPT: self._attempt},
            error=error,
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
