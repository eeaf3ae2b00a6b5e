"""The SDK's transport over a CLI that this project owns: start, limits, and an end on every path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from claude_agent_sdk import CLIConnectionError, Transport

from services.claude_exec.cli.process import CliNotStartedError, CliProcess
from shared.settings import Settings

Stop = Literal["program", "start", "idle", "output", "waits", "ended"]
"""Why a conversation stopped: nothing to execute, no first word, silence, too many words, an API that is not to be
waited for, the CLI's own end."""

OnMessage = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Is given each message of the CLI as it came; the CLI waits meanwhile."""

_DRAIN_BYTES = 64 * 1024


class StoppedError(CLIConnectionError):
    """The conversation stopped before its result; `why` says how."""

    def __init__(self, why: Stop, message: str) -> None:
        super().__init__(message)
        self.why: Stop = why


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may take. Durations are seconds.

    Attributes:
        start_seconds: Until the CLI's first word.
        idle_seconds: Between two words of the CLI.
        grace_seconds: Between the end of input and SIGTERM (once there is a result), and from SIGTERM to SIGKILL.
        max_output_bytes: Of its standard output.
    """

    start_seconds: float
    idle_seconds: float
    grace_seconds: float
    max_output_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits that the settings have."""
        return cls(
            start_seconds=settings.claude_start_seconds,
            idle_seconds=settings.claude_idle_seconds,
            grace_seconds=settings.claude_grace_seconds,
            max_output_bytes=settings.claude_max_output_bytes,
        )


class CliTransport(Transport):
    """One CLI, from `connect` to `close`. It is closed by whoever made it, too: the SDK's own closing can be cut short.

    Args:
        command: program and arguments.
        environment: all of its environment.
        cwd: its working directory.
        limits: what it may take.
        on_start: called at the first message.
        on_message: is given every message.
        held_fd: see `CliProcess.start`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        limits: Limits,
        on_start: Callable[[], None] | None = None,
        on_message: OnMessage | None = None,
        held_fd: int | None = None,
    ) -> None:
        self._command = command
        self._environment = environment
        self._cwd = cwd
        self._limits = limits
        self._on_start = on_start
        self._on_message = on_message
        self._held_fd = held_fd
        self._process: CliProcess | None = None
        self._closing: asyncio.Task[None] | None = None
        self._killed = False
        self._has_result = False
        self._reading = asyncio.Lock()  # the SDK's reader may still wait when the end has begun
        self._output_bytes = 0

    @property
    def status(self) -> int | None:
        """Exit status of the CLI, or minus the signal that ended it; None before its end, or without a start."""
        return None if self._process is None else self._process.status

    @property
    def stderr_tail(self) -> str:
        """The last of what the CLI wrote to its standard error."""
        return "" if self._process is None else self._process.stderr_tail

    @property
    def pid(self) -> int | None:
        """Of the CLI; None before it was started."""
        return None if self._process is None else self._process.pid

    def kill(self) -> None:
        """Kill the CLI and all it started, at once and for good; may be called at any time."""
        self._killed = True
        self._obey()

    async def connect(self) -> None:
        """Start the CLI.

        Raises:
            StoppedError: it cannot be executed.
            RetryableError: this machine has no process left for it.
        """
        if self._killed:
            raise StoppedError("ended", "killed before its start")
        try:
            self._process = await CliProcess.start(
                self._command,
                environment=self._environment,
                cwd=self._cwd,
                max_line_bytes=self._limits.max_output_bytes,
                held_fd=self._held_fd,
            )
        except CliNotStartedError as error:
            raise StoppedError("program", str(error)) from error
        self._obey()

    async def write(self, data: str) -> None:
        """Write to the CLI's standard input.

        Raises:
            CLIConnectionError: it does not read any more.
        """
        process = self._connected()
        try:
            process.requests.write(data.encode())
            await process.requests.drain()
        except (ConnectionError, RuntimeError) as error:
            raise CLIConnectionError(f"the CLI does not read: {error}") from error

    async def end_input(self) -> None:
        """Close the CLI's standard input."""
        if self._process is not None:
            self._process.requests.close()

    def is_ready(self) -> bool:
        """Whether the CLI was started and nobody closes it."""
        return self._process is not None and self._closing is None

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """The CLI's messages, to the end of its output.

        Raises:
            StoppedError: a limit was reached, or the CLI ended without a result.
        """
        process = self._connected()
        limits = self._limits
        patience, why = limits.start_seconds, "start"
        while line := await self._line(process, patience, "start" if why == "start" else "idle"):
            message = _message(line)
            if message is None:
                continue
            if why == "start":
                patience, why = limits.idle_seconds, "idle"
                if self._on_start is not None:
                    self._on_start()
            if message.get("type") == "result":
                self._has_result = True
            if self._on_message is not None:
                await self._on_message(message)
            yield message
        if not self._has_result:
            raise StoppedError("ended", "the CLI ended without a result")

    async def close(self) -> None:
        """End the CLI: end of input, then SIGTERM, then SIGKILL. Bounded; cancelling it does not stop the ending.

        A CLI with a result gets `grace_seconds` to end by itself. One without is busy, and would not: SIGTERM at once.

        Raises:
            RetryableError: something of it outlived SIGKILL.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        process = self._process
        if process is None:
            return
        draining = asyncio.create_task(self._drain(process.answers))  # else it may hang in a write for ever
        try:
            process.requests.close()
            grace = self._limits.grace_seconds
            if not self._killed and not (self._has_result and await process.ends_within(grace)):
                process.terminate()
                if not await process.ends_within(grace):
                    process.kill()
            await process.gone()
        finally:
            draining.cancel()
            await asyncio.wait({draining})

    async def _line(self, process: CliProcess, patience: float, silence: Literal["start", "idle"]) -> bytes:
        """One line; none at the end of output.

        Raises:
            StoppedError: it took too long, or the output is too long.
        """
        try:
            async with self._reading, asyncio.timeout(patience):
                line = await process.answers.readline()
        except TimeoutError:
            raise StoppedError(silence, f"the CLI said nothing for {patience:g} s") from None
        except ValueError:  # longer than the reader's limit
            line = b""
            self._output_bytes = self._limits.max_output_bytes + 1
        self._output_bytes += len(line)
        if self._output_bytes > self._limits.max_output_bytes:
            raise StoppedError("output", f"the CLI wrote more than {self._limits.max_output_bytes} bytes")
        return line

    def _obey(self) -> None:
        """Kill what runs if that was asked for, also while there was nothing to kill yet."""
        if self._killed and self._process is not None:
            self._process.kill()

    async def _drain(self, stream: asyncio.StreamReader) -> None:
        """Read on without keeping anything."""
        async with self._reading:
            while await stream.read(_DRAIN_BYTES):
                pass

    def _connected(self) -> CliProcess:
        if self._process is None:
            raise CLIConnectionError("the CLI was not started")
        return self._process


def _message(line: bytes) -> dict[str, Any] | None:
    """A line as a message; None for what is none, as a warning that went to the wrong stream."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
