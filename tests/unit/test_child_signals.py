"""What became of a child is known, even if it is sent a signal in the moment of its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from shared.processes.children import signal_child, signal_name


async def test_the_status_of_a_child_that_has_just_ended() -> None:
    """Signals come all the while until it is gone: its own status is reported, not the 255 of a stolen one."""
    for _ in range(10):
        process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", "import os; os.abort()")
        while _is_there(process.pid):  # until a thread of asyncio's has reaped it
            signal_child(process, 0)
        assert await process.wait() == -signal.SIGABRT


async def test_a_child_that_was_stopped_gets_it() -> None:
    """It goes on: stopped, it would take no signal but SIGKILL, and a leash would never kill what it holds."""
    process = await asyncio.create_subprocess_exec("sleep", "60")
    os.kill(process.pid, signal.SIGSTOP)
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    signal_child(process, signal.SIGTERM)
    async with asyncio.timeout(60):
        assert await process.wait() == -signal.SIGTERM


def test_every_signal_is_called_something() -> None:
    """Those of real time, too, for which the standard library has no name."""
    assert [signal_name(number) for number in (9, 40)] == ["SIGKILL", "signal 40"]
    assert all(signal_name(number) for number in range(1, 65))


async def test_a_child_that_runs_gets_it() -> None:
    """The signal arrives; sent again after the end it does nothing."""
    process = await asyncio.create_subprocess_exec("sleep", "60")
    signal_child(process, signal.SIGTERM)
    assert await process.wait() == -signal.SIGTERM
    signal_child(process, signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
