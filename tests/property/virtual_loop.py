"""An event loop whose time only tests move, and the clock that goes with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TypeVarTuple

from tests.property.process import PROCESS

Ts = TypeVarTuple("Ts")

EPOCH_MS = 1_790_000_000_000
"""Wall clock at the beginning of every world."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Sockets are real, time is not: `asyncio.sleep(300)` ends when `pass_time` has moved the clock by 300 seconds.

    Timers that a process set do not fire while that process is frozen, as under SIGSTOP.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__()

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def pass_time(self, seconds: float) -> None:
        """Move the clock; what is due fires in the next iterations."""
        self._now += seconds

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As the loop's own, but a frozen process' timers wait until it is thawed."""
        context = context if context is not None else copy_context()
        process = context.get(PROCESS)
        if process is None:
            return super().call_at(when, callback, *args, context=context)

        def fire() -> None:
            if not handle.cancelled():
                callback(*args)

        def fire_unless_frozen() -> None:
            process.when_thawed(fire, context)

        handle = super().call_at(when, fire_unless_frozen, context=context)
        return handle


class WorldClock:
    """`Clock` of everything in a world."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970."""
        return EPOCH_MS + round(self._loop.time() * 1000)

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return self._loop.time()

    def suspended_seconds(self) -> float:
        """How long the machine was suspended that the process runs on which asks."""
        process = PROCESS.get()
        return 0.0 if process is None else process.suspended_seconds
