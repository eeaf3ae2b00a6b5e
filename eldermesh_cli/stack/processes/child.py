"""Own a child process: it writes to a bounded log, ends within limits, and never outlives its owner (see `leash`)."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from eldermesh_cli.stack.errors import ProcessWouldNotDieError, StackError
from eldermesh_cli.stack.processes.log_file import open_log
from shared.processes import leash

_STARTED_SECONDS = 15.0
_KILL_SECONDS = leash.DESCENDANTS_SECONDS + 2.0
_POLL_SECONDS = 0.01


class OwnedProcess:
    """One run of a command in a session of its own; not bound to an event loop.

    `command` is executed as it stands, without a shell. `env` is its whole environment (None: this process' own).
    Descriptors in `held_fds` stay open in the leash, not in the command, until the last descendant is gone.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        held_fds: Sequence[int] = (),
    ) -> None:
        self.command = tuple(command)
        self.log_path = log_path
        self._env = None if env is None else dict(env)
        self._cwd = cwd
        self._held_fds = tuple(held_fds)
        self._leash: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._returncode: int | None = None
        self._killed = False
        self._asked = False
        self._reaping = threading.Lock()  # memory reports look at processes from another thread

    @property
    def pid(self) -> int | None:
        """The pid of the command itself; None before the start."""
        return self._pid

    @property
    def leash_pid(self) -> int | None:
        """The pid at the root of everything that belongs to this run; None before the start."""
        return None if self._leash is None else self._leash.pid

    @property
    def killed(self) -> bool:
        """Whether it had to be killed: it did not end by itself within the grace it was given."""
        return self._killed

    def start(self) -> None:
        """Start the command; return as soon as it has been executed (some hundredths of a second).

        Raises:
            StackError: it could not be executed, or was started before.
        """
        if self._leash is not None:
            raise StackError(f"{self.command[0]} was started before: a run is not used twice")
        log = open_log(self.log_path)
        status, status_write = os.pipe()
        try:
            self._leash = subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), str(status_write), "--", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
                pass_fds=(status_write, *self._held_fds),
            )
            os.close(status_write)
            status_write = -1
            answer = _read_to_end(status, _STARTED_SECONDS)
        finally:
            os.close(log)
            os.close(status)
            if status_write >= 0:
                os.close(status_write)
        pid, _, problem = answer.partition("\n")
        self._pid = int(pid) if pid else None
        if problem or not pid:
            self.kill()
            raise StackError(f"cannot be executed: {problem.strip() or 'it ended before it began'}")

    def poll(self) -> int | None:
        """Return how the command ended (an exit status, or minus a signal), or None while it runs."""
        with self._reaping:
            if self._leash is None or self._returncode is not None:
                return self._returncode
            if os.waitid(os.P_PID, self._leash.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                self._kill_group()  # a killed leash left descendants; its pid stays its own until it is reaped
                self._returncode = self._leash.wait()
            return self._returncode

    async def wait(self) -> int:
        """Wait until the command and all its descendants are gone; return how the command ended."""
        while (returncode := self.poll()) is None:
            await self.ended_within(None)
        return returncode

    async def stop(self, grace_seconds: float) -> bool:
        """End it: SIGTERM, then after the grace SIGKILL to it and all its descendants; return whether it was killed.

        Raises:
            ProcessWouldNotDieError: even that did not end it.
        """
        if self._leash is None or self.poll() is not None:
            return self._killed
        if not self._asked:  # a second SIGTERM means "at once" to some programs
            self._asked = True
            self._leash.send_signal(signal.SIGTERM)
        if not await self.ended_within(grace_seconds):
            self.kill_soon()
            if not await self.ended_within(_KILL_SECONDS):
                self._kill_group()
                if not await self.ended_within(_KILL_SECONDS):
                    raise ProcessWouldNotDieError(f"{self.command[0]} (pid {self._pid}) outlived SIGKILL")
        return self._killed

    def kill_soon(self) -> None:
        """Have it and all its descendants killed, without waiting for that."""
        if self._leash is not None and self.poll() is None:
            self._killed = True
            self._leash.send_signal(leash.KILL_NOW)

    def kill(self) -> None:
        """Kill it and all its descendants, and wait for that; for places that have no event loop.

        Raises:
            ProcessWouldNotDieError: that did not end it.
        """
        self.kill_soon()
        for last_try in (False, True):
            deadline = time.monotonic() + _KILL_SECONDS
            while time.monotonic() < deadline:
                if self._leash is None or self.poll() is not None:
                    return
                time.sleep(_POLL_SECONDS)
            if not last_try:
                self._kill_group()
        raise ProcessWouldNotDieError(f"{self.command[0]} (pid {self._pid}) outlived SIGKILL")

    def _kill_group(self) -> None:
        """Kill what is in the leash's process group; call it only while the leash is not reaped."""
        if self._leash is not None:
            os.killpg(self._leash.pid, signal.SIGKILL)

    async def ended_within(self, timeout_seconds: float | None) -> bool:
        """Wait for the end of the command and all its descendants; return False when the limit came first."""
        if self._leash is None or self.poll() is not None:
            return True
        descriptor = os.pidfd_open(self._leash.pid)
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            async with asyncio.timeout(timeout_seconds):
                await ended.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return self.poll() is not None


def _read_to_end(descriptor: int, timeout_seconds: float) -> str:
    """Read a pipe until its end, or what came of it within the limit."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + timeout_seconds
    content = b""
    while poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
        piece = os.read(descriptor, 4096)
        if not piece:
            break
        content += piece
    return content.decode("utf-8", "replace")
