"""Calls into an event loop from other threads, where many come together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context


class LoopCalls:
    """Calls into one event loop, in order, each in its caller's context; those that come together wake it once.

    `call_soon_threadsafe` writes to a pipe for each call: most of what a hop between threads costs.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[Context, Callable[[], object]]] = deque()
        self._is_woken = False

    def soon(self, call: Callable[[], object]) -> None:
        """Call it in the loop's thread.

        Raises:
            RuntimeError: the loop is closed.
        """
        self._waiting.append((copy_context(), call))
        if self._is_woken:  # `_run` clears the flag before it looks, so it takes this call, too
            return
        self._is_woken = True
        try:
            self._loop.call_soon_threadsafe(self._run)
        except RuntimeError:
            self._is_woken = False
            self._waiting.clear()
            raise

    def _run(self) -> None:
        self._is_woken = False
        for _ in range(len(self._waiting)):
            context, call = self._waiting.popleft()
            self._loop.call_soon(call, context=context)
