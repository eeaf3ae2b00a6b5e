"""A CLI process: started by the leash, in its own session, with only the given environment."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from eldermesh.shield import to_its_end
from shared.backoff.os_errors import passes, told_passes
from shared.errors import RetryableError, StillRunningError
from shared.processes import leash
from shared.processes.children import ends_within, signal_child

DEATH_SECONDS = leash.DESCENDANTS_SECONDS + 5.0
"""How long a killed CLI and its descendants may take to end."""

_EXECUTE_SECONDS = 30.0
_STDERR_BYTES = 4096
_READ_BYTES = 8192


class CliNotStartedError(Exception):
    """The program could not be executed; the message says why."""


class CliProcess:
    """One CLI that runs or has ended. The leash kills what the CLI leaves behind, and everything if this process dies.

    Attributes:
        pid: Process id of the CLI itself, not of its leash.
        requests: Its standard input.
        answers: Its standard output.
    """

    def __init__(self, process: asyncio.subprocess.Process, pid: int) -> None:
        assert process.stdin is not None  # noqa: S101 - for the type checker: all three are pipes
        assert process.stdout is not None  # noqa: S101 - the same
        assert process.stderr is not None  # noqa: S101 - the same
        self.pid = pid
        self.requests = process.stdin
        self.answers = process.stdout
        self._process = process
        self._stderr = b""
        self._draining = asyncio.create_task(self._drain(process.stderr))

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        max_line_bytes: int,
        held_fd: int | None = None,
    ) -> CliProcess:
        """Start a command. If this is cancelled, no process is left.

        Args:
            command: program and arguments.
            environment: its complete environment.
            cwd: its working directory.
            max_line_bytes: the reader of its standard output fails at a longer line.
            held_fd: a descriptor that the leash keeps open until the last descendant has ended.

        Raises:
            CliNotStartedError: the program or the working directory is missing or cannot be used.
            RetryableError: this machine cannot start another process now.
        """
        try:
            told, tell = os.pipe()
        except OSError as error:
            raise _not_started(error) from error
        try:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), str(tell), "--"),
                    *command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env=dict(environment),
                    cwd=cwd,
                    limit=max_line_bytes,
                    start_new_session=True,
                    pass_fds=(tell,) if held_fd is None else (tell, held_fd),
                )
            finally:
                os.close(tell)
        except BaseException as error:
            os.close(told)
            if isinstance(error, OSError):
                raise _not_started(error) from error
            if isinstance(error, ValueError):  # a NUL in an argument, a variable or the directory
                raise CliNotStartedError(str(error)) from error
            raise
        started = cls(process, process.pid)
        try:
            pid, _, trouble = (await _read_all(told)).partition("\n")
            if told_passes(trouble):
                raise RetryableError(f"no process for a CLI: {trouble.strip()}")  # noqa: TRY301 - the end below is the same
            if trouble or not pid:
                raise CliNotStartedError(trouble.strip() or "its leash died")  # noqa: TRY301 - as above
        except BaseException:
            started.kill()
            await to_its_end(started.gone())
            raise
        started.pid = int(pid)
        return started

    @property
    def status(self) -> int | None:
        """Exit status, or minus the number of the signal that ended it; None while it runs."""
        return self._process.returncode

    @property
    def stderr_tail(self) -> str:
        """The end of its standard error."""
        return self._stderr.decode("utf-8", "replace").strip()

    async def ends_within(self, seconds: float) -> bool:
        """Wait for it and all its descendants to end; return whether they did in time."""
        return await ends_within(self._process, seconds)

    def terminate(self) -> None:
        """Send SIGTERM to the CLI alone, which then ends its tools and sends its last spans."""
        signal_child(self._process, signal.SIGTERM)

    def kill(self) -> None:
        """Kill the CLI and all its descendants."""
        signal_child(self._process, leash.KILL_NOW)

    async def gone(self) -> None:
        """Wait for a CLI that has ended or was killed, and close its pipes.

        Raises:
            RetryableError: a process of it outlived SIGKILL.
        """
        try:
            if not await self.ends_within(DEATH_SECONDS):
                raise StillRunningError(f"CLI {self.pid} outlived SIGKILL")
            await asyncio.wait({self._draining}, timeout=1.0)
        finally:
            self._draining.cancel()
            self.requests.close()

    async def _drain(self, stream: asyncio.StreamReader) -> None:
        while piece := await stream.read(_READ_BYTES):
            self._stderr = (self._stderr + piece)[-_STDERR_BYTES:]


def _not_started(error: OSError) -> CliNotStartedError | RetryableError:
    if passes(error):
        return RetryableError(f"no process for a CLI: {error}")
    return CliNotStartedError(str(error))


async def _read_all(descriptor: int) -> str:
    """Read a pipe to its end, which comes when the leash has executed the command or died."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    try:
        async with asyncio.timeout(_EXECUTE_SECONDS):
            return (await reader.read()).decode("utf-8", "replace")
    except TimeoutError as error:
        raise RetryableError(f"a CLI was not executed within {_EXECUTE_SECONDS:g} s") from error
    finally:
        transport.close()
