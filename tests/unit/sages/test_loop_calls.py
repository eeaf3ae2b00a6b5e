"""Calls into an event loop from other threads."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from functools import partial

import pytest

from services.sages.loop_calls import LoopCalls

WHO: ContextVar[str] = ContextVar("who", default="nobody")


class CountsWakeUps(asyncio.SelectorEventLoop):
    """The loop, and how often another thread has woken it."""

    wake_ups = 0

    def _write_to_self(self) -> None:
        self.wake_ups += 1
        super()._write_to_self()  # type: ignore[misc]  # of the base class, and not in its stub


def test_calls_that_come_together_wake_the_loop_once() -> None:
    """All are made, in order and each in its caller's context; a later one wakes the loop again."""
    with asyncio.Runner(loop_factory=CountsWakeUps) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, CountsWakeUps)
        calls, made = LoopCalls(loop), list[tuple[int, str]]()

        def ask(numbers: range) -> None:
            WHO.set(f"thread of {numbers.start}")
            for number in numbers:
                calls.soon(lambda number=number: made.append((number, WHO.get())))  # type: ignore[misc]  # its default

        async def asked(numbers: range) -> None:
            all_made = asyncio.Event()
            thread = threading.Thread(target=partial(ask, numbers))
            thread.start()
            thread.join()  # the loop does not run meanwhile
            calls.soon(all_made.set)  # behind them; the loop is awake, or will be
            async with asyncio.timeout(10):
                await all_made.wait()

        before = loop.wake_ups
        runner.run(asked(range(100)))
        runner.run(asked(range(100, 103)))
        assert made == [(number, f"thread of {0 if number < 100 else 100}") for number in range(103)]
        assert loop.wake_ups - before == 2


def test_a_closed_loop_is_said_each_time() -> None:
    """So that nobody waits for an answer from it."""
    loop = asyncio.new_event_loop()
    calls = LoopCalls(loop)
    loop.close()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="closed"):
            calls.soon(lambda: None)
