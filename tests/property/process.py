"""A simulated operating-system process: tasks that stop at every port call until the test lets them through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from types import TracebackType
from typing import Any

PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)
"""The process whose code runs; timers inherit it."""

_CALM_ITERATIONS = 15
_MOST_CALLS_A_SECOND = 5000
"""Of virtual time: who calls more often never rests."""
_MOST_ITERATIONS = 2_000_000


class Pulse:
    """Counts real input and output under way, so that a test knows when all processes have come to rest."""

    def __init__(self) -> None:
        self._in_flight = 0

    def __enter__(self) -> None:
        self._in_flight += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_flight -= 1

    async def rest(self) -> None:
        """Wait until every process is stopped at a port, asleep or dead."""
        calm = 0
        for _ in range(_MOST_ITERATIONS):
            await asyncio.sleep(0)
            calm = 0 if self._in_flight else calm + 1
            if calm == _CALM_ITERATIONS:
                return
        raise AssertionError("the world does not come to rest")


class Process:
    """One life of an owner or a runner.

    Its port calls `stop()` first; `let_through()` lets the one go on that has waited longest. Killing it is SIGKILL:
    whatever its code does while it is torn down reaches no port any more.

    Args:
        name: for messages.
        report: is told what no process may do, so that its own code cannot swallow it.
    """

    def __init__(self, name: str, report: Callable[[str], None]) -> None:
        self.name = name
        self.calls = 0
        self._report = report
        self._second = (0, 0)
        self.is_dead = False
        self.is_frozen = False
        self.suspended_seconds = 0.0
        self._asleep_since: float | None = None
        self.failure: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._deferred: list[tuple[Callable[[], None], Context]] = []
        self._thaw: asyncio.Future[None] | None = None

    def start(self, life: Coroutine[Any, Any, None]) -> None:
        """Begin to live."""
        context = copy_context()
        context.run(PROCESS.set, self)
        self._task = asyncio.get_running_loop().create_task(life, name=self.name, context=context)
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.is_dead = True
        if not task.cancelled():
            self.failure = task.exception()

    @property
    def stopped_at(self) -> str | None:
        """The port call it waits to make; None when it sleeps or is dead."""
        return self._waiting[0][0] if self._waiting else None

    @property
    def stops(self) -> list[str]:
        """All port calls it waits to make, the longest waiting first."""
        return [name for name, _ in self._waiting]

    async def stop(self, port: str) -> None:
        """Wait at a port until let through."""
        self.check_alive()
        self._count(port)
        entry = (port, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            await entry[1]
        finally:
            self._waiting.remove(entry)
        self.check_alive()

    def _count(self, port: str) -> None:
        self.calls += 1
        second = int(asyncio.get_running_loop().time())
        since = self._second[1] if self._second[0] == second else self.calls
        self._second = (second, since)
        if self.calls - since > _MOST_CALLS_A_SECOND:
            self._report(f"{self.name} spins: {self.calls - since} calls within a second, now {port}")

    async def go_on(self) -> None:
        """Pass a port that is not stopped at, once the process is not frozen."""
        self.check_alive()
        self._count("go_on")
        if self.is_frozen:
            if self._thaw is None:
                self._thaw = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._thaw)
        self.check_alive()

    def check_alive(self) -> None:
        """A dead process touches nothing."""
        if self.is_dead:
            raise asyncio.CancelledError

    def let_through(self, port: str | None = None) -> bool:
        """Let one port call go on: the longest waiting, or the first at `port`; whether there was one."""
        for name, future in self._waiting:
            if port in (None, name) and not future.done() and not self.is_frozen:
                future.set_result(None)
                return True
        return False

    def freeze(self) -> None:
        """SIGSTOP."""
        self.is_frozen = True

    def suspend(self) -> None:
        """The machine that it runs on is suspended, until the process is thawed."""
        self.is_frozen = True
        if self._asleep_since is None and self._task is not None:
            self._asleep_since = self._task.get_loop().time()

    def thaw(self) -> None:
        """SIGCONT. Timers that came due meanwhile still wait: `release_timers()` fires them."""
        self.is_frozen = False
        if self._asleep_since is not None:
            if self._task is not None:
                self.suspended_seconds += self._task.get_loop().time() - self._asleep_since
            self._asleep_since = None
        if self._thaw is not None:
            self._thaw.set_result(None)
            self._thaw = None

    def release_timers(self) -> None:
        """Fire the timers that came due while the process was frozen."""
        deferred, self._deferred = self._deferred, []
        for fire, context in deferred:
            asyncio.get_running_loop().call_soon(fire, context=context)

    def when_thawed(self, fire: Callable[[], None], context: Context) -> None:
        """Fire a timer now, or when the process is thawed; never when it is dead."""
        if self.is_frozen:
            self._deferred.append((fire, context))
        else:
            fire()

    def kill(self) -> None:
        """SIGKILL."""
        self.is_dead = True
        self.is_frozen = False
        self._deferred.clear()
        if self._task is not None:
            self._task.cancel()
