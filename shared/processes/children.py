"""Child processes of asyncio: start one on a leash, signal it, wait for its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import Any

from shared.processes import leash


async def start_on_leash(command: tuple[str, ...], **pipes: Any) -> asyncio.subprocess.Process:
    """Start a command; the process that is returned is its leash, which ends as the command does.

    `pipes` are arguments of `asyncio.create_subprocess_exec`. The child dies with the thread that calls this.

    Raises:
        OSError: no process can be started.
    """
    with open(os.devnull, "wb") as nothing:  # noqa: ASYNC230, PTH123 - opening it takes no time
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), str(nothing.fileno()), "--", *command),
            start_new_session=True,  # a Ctrl-C at the terminal is for this process to handle
            pass_fds=(nothing.fileno(),),
            **pipes,
        )


def signal_child(process: asyncio.subprocess.Process, number: int) -> None:
    """Send a signal to a child that may just have ended.

    Not by `Process.send_signal`: that polls first, and so may reap the child before asyncio's watcher does, which then
    reports status 255 in place of what became of it.

    A child that was stopped (by what it runs: `kill -STOP 0`) goes on, since it takes no signal before.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):  # reaped, which asyncio has not told yet
            os.kill(process.pid, number)
            os.kill(process.pid, signal.SIGCONT)


def signal_name(number: int) -> str:
    """How people call a signal; those of real time have no names."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def ends_within(process: asyncio.subprocess.Process, seconds: float) -> bool:
    """Wait for the end of a process; whether it came in time."""
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        return False
    return True
