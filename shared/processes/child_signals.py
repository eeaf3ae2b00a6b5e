"""Signals to children of asyncio, sent so that their exit status is not lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal


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
