"""A CLI as a process: started on a leash, in a session of its own, with nothing but the environment it is given."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from eldermesh.shield import to_its_end
from shared.errors import RetryableError, StillRunningError
from shared.processes import leash
from shared.processes.children import ends_within, signal_child
from shared.retry.os_errors import passes, told_passes

DEATH_SECONDS = leash.DESCENDANTS_SECONDS + 5.0
"""How long a killed CLI and all that it started may take to be gone."""

_EXECUTE_SECONDS = 30.0
_STDERR_BYTES = 4096
_READ_BYTES = 8192


class CliNotStartedError(Exception):
    """The program could not be executed; the message says why."""


class CliProcess:
    """One CLI that runs, or has ended. The leash kills what it leaves behind, and it with all when this process dies.

    Attributes:
        pid: Of the CLI itself, not of its leash.
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
        """Start a command. Cancelling this leaves nothing behind.

        Args:
            command: program and arguments.
            environment: all of its environment.
            cwd: its working directory.
            max_line_bytes: a longer line on its standard output is an error of the reader.
            held_fd: a descriptor that stays open until the last descendant is gone; the command does not get it.

        Raises:
            CliNotStartedError: the program or the working directory is not there, or cannot be used.
            RetryableError: this machine has no process left for it.
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
        """Exit status, or minus the signal that ended it; None while it runs."""
        return self._process.returncode

    @property
    def stderr_tail(self) -> str:
        """The last of what it wrote to its standard error."""
        return self._stderr.decode("utf-8", "replace").strip()

    async def ends_within(self, seconds: float) -> bool:
        """Wait for its end, and that of all its descendants; whether that came in time."""
        return await ends_within(self._process, seconds)

    def terminate(self) -> None:
        """Send SIGTERM to the CLI alone: it ends its tools and sends its last spans."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the CLI and all its descendants at once."""
        self._signal(leash.KILL_NOW)

    async def gone(self) -> None:
        """Wait for the end of a CLI that has ended or was killed, and let go of its pipes.

        Raises:
            RetryableError: something of it outlived SIGKILL.
        """
        try:
            if not await self.ends_within(DEATH_SECONDS):
                raise StillRunningError(f"CLI {self.pid} outlived SIGKILL")
            await asyncio.wait({self._draining}, timeout=1.0)
        finally:
            self._draining.cancel()
            self.requests.close()

    def _signal(self, number: int) -> None:
        signal_child(self._process, number)

    async def _drain(self, stream: asyncio.StreamReader) -> None:
        while piece := await stream.read(_READ_BYTES):
            self._stderr = (self._stderr + piece)[-_STDERR_BYTES:]


def _not_started(error: OSError) -> CliNotStartedError | RetryableError:
    if passes(error):
        return RetryableError(f"no process for a CLI: {error}")
    return CliNotStartedError(str(error))


async def _read_all(descriptor: int) -> str:
    """Read a pipe to its end, which comes when the leash has executed the command, or died."""
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
