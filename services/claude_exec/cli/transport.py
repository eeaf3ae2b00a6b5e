"""The SDK's transport to a CLI process: it starts the CLI, applies the limits, and always ends the process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from claude_agent_sdk import CLIConnectionError, Transport

from services.claude_exec.cli.process import CliNotStartedError, CliProcess
from shared.settings import Settings

Stop = Literal["program", "start", "idle", "output", "waits", "ended"]
"""Why a conversation stopped: the program could not start, no first message, no further message, too much output, too
long a wait for the API, or the CLI ended."""

OnMessage = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Gets each message of the CLI unchanged; the next one is read after it returns."""

_DRAIN_BYTES = 64 * 1024


class StoppedError(CLIConnectionError):
    """The conversation stopped before its result; `why` says for which reason."""

    def __init__(self, why: Stop, message: str) -> None:
        super().__init__(message)
        self.why: Stop = why


class CliTransport(Transport):
    """One CLI, from `connect` to `close`. Its maker must close it too, since the SDK's own closing can be interrupted.

    Args:
        command: program and arguments.
        environment: all of its environment.
        cwd: its working directory.
        settings: its time limits and the longest output.
        on_start: called at the first message.
        on_message: gets every message.
        held_fd: see `CliProcess.start`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        settings: Settings,
        on_start: Callable[[], None] | None = None,
        on_message: OnMessage | None = None,
        held_fd: int | None = None,
    ) -> None:
        self._command = command
        self._environment = environment
        self._cwd = cwd
        self._settings = settings
        self._on_start = on_start
        self._on_message = on_message
        self._held_fd = held_fd
        self._process: CliProcess | None = None
        self._closing: asyncio.Task[None] | None = None
        self._killed = False
        self._has_result = False
        self._reading = asyncio.Lock()  # the SDK may still read when `close` begins
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
        """Process id of the CLI; None before its start."""
        return None if self._process is None else self._process.pid

    def kill(self) -> None:
        """Kill the CLI and all its descendants; may be called at any time, also before `connect`."""
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
                max_line_bytes=self._settings.claude_max_output_bytes,
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
        """Whether the CLI was started and is not being closed."""
        return self._process is not None and self._closing is None

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """The CLI's messages, to the end of its output.

        Raises:
            StoppedError: a limit was reached, or the CLI ended without a result.
        """
        process = self._connected()
        has_started = False
        while line := await self._line(process, "idle" if has_started else "start"):
            message = _message(line)
            if message is None:
                continue
            if not has_started:
                has_started = True
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
        """End the CLI: end of input, then SIGTERM, then SIGKILL. Takes bounded time; cancelling it does not stop it.

        A CLI with a result gets `claude_grace_seconds` to end by itself. One without a result gets SIGTERM at once.

        Raises:
            RetryableError: a process of it outlived SIGKILL.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        process = self._process
        if process is None:
            return
        draining = asyncio.create_task(self._drain(process.answers))  # else the CLI could block in a write for ever
        try:
            process.requests.close()
            grace = self._settings.claude_grace_seconds
            if not self._killed and not (self._has_result and await process.ends_within(grace)):
                process.terminate()
                if not await process.ends_within(grace):
                    process.kill()
            await process.gone()
        finally:
            draining.cancel()
            await asyncio.wait({draining})

    async def _line(self, process: CliProcess, silence: Literal["start", "idle"]) -> bytes:
        """The next line; empty at the end of output.

        Raises:
            StoppedError: it took too long, or the output is too long.
        """
        settings = self._settings
        patience = settings.claude_start_seconds if silence == "start" else settings.claude_idle_seconds
        most_bytes = settings.claude_max_output_bytes
        try:
            async with self._reading, asyncio.timeout(patience):
                line = await process.answers.readline()
        except TimeoutError:
            raise StoppedError(silence, f"the CLI said nothing for {patience:g} s") from None
        except ValueError:  # longer than the reader's limit
            line = b""
            self._output_bytes = most_bytes + 1
        self._output_bytes += len(line)
        if self._output_bytes > most_bytes:
            raise StoppedError("output", f"the CLI wrote more than {most_bytes} bytes")
        return line

    def _obey(self) -> None:
        """Kill the process if `kill` was called, perhaps before the process started."""
        if self._killed and self._process is not None:
            self._process.kill()

    async def _drain(self, stream: asyncio.StreamReader) -> None:
        """Read to the end and discard the output."""
        async with self._reading:
            while await stream.read(_DRAIN_BYTES):
                pass

    def _connected(self) -> CliProcess:
        if self._process is None:
            raise CLIConnectionError("the CLI was not started")
        return self._process


def _message(line: bytes) -> dict[str, Any] | None:
    """A line as a message; None for other output, such as a warning."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
