"""What the coroutine functions of test jobs do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Any

_here: set[int] = set()
_running = 0
_all_here = asyncio.Event()
_loops: list[asyncio.AbstractEventLoop] = []
_clients: list[asyncio.Future[None]] = []
_left: list[asyncio.Task[str]] = []


async def meet(item: list[int]) -> int:
    """Wait until so many items are here at the same time; how many those are."""
    number, expected = item
    _here.add(number)
    if len(_here) == expected:
        _all_here.set()
    await _all_here.wait()
    return len(_here)


async def most_at_once(seconds: float) -> int:
    """How many of these ran when this one began, itself counted."""
    global _running  # noqa: PLW0603 - what is tested is one process
    _running += 1
    number = _running
    await asyncio.sleep(seconds)
    _running -= 1
    return number


async def same_loop(_: int) -> bool:
    """Whether it runs in the event loop of the first call; leaves a task behind that will not end."""
    loop = asyncio.get_running_loop()
    _loops.append(loop)
    _left.append(asyncio.create_task(behave("stay whatever comes")))
    return loop is _loops[0]


async def with_a_client(how: str) -> str:
    """Behave so, with something that belongs to the event loop of the first call."""
    _clients.append(asyncio.get_running_loop().create_future())
    if _clients[0].get_loop() is not asyncio.get_running_loop():
        raise RuntimeError("the client is of another event loop")
    return await behave(how)


async def large_after(seconds: float) -> str:
    """Some time later, more than a pipe holds, in several steps."""
    for _ in range(10):
        await asyncio.sleep(seconds / 10)
    return "x" * 200_000


async def behave(how: str) -> str:
    """Do what the word says."""
    match how:
        case "leave":
            await asyncio.sleep(0.05)
            os._exit(9)
        case "stay":
            await asyncio.sleep(600)
        case "stay whatever comes":
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(600)
        case "stop later":
            asyncio.get_running_loop().call_later(0.3, asyncio.get_running_loop().stop)
        case "exit later":
            _left.append(asyncio.create_task(_exit_after(0.3)))
        case "stay a second":
            await asyncio.sleep(1.0)
        case "block":
            time.sleep(600)  # noqa: ASYNC251 - that is what is tested
        case _:
            await _meddle(how)
    return how


async def _exit_after(seconds: float) -> str:
    await asyncio.sleep(seconds)
    raise SystemExit("left behind")


async def _meddle(how: str) -> None:
    """Raise something, or disturb the event loop."""
    match how:
        case "raise":
            raise ValueError(how)
        case "exit":
            raise SystemExit(how)
        case "interrupt":
            raise KeyboardInterrupt(how)
        case "cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        case "cancel all":
            for task in asyncio.all_tasks():
                task.cancel()
        case "stop":
            asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)


async def not_json(_: Any) -> object:
    """What is no result."""
    return object()


def note_and_stay(path: str) -> None:
    """No coroutine function: it tells that it was called, and waits for what never comes, until it is killed."""
    with Path(path).open("a", encoding="ascii") as notes:
        notes.write("called ")
    threading.Event().wait(60)
