"""The runners of one workload, seen by a driver: what waits for them, when there are more, what their deaths mean."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from services.router.engines.chunks.task import ChunkOutcome
from shared.errors import MeshError
from shared.logs.setup import get_logger

LOST = "lost"
"""What became of a task whose runners died under it so often that it is left to its owner."""

_MAX_LOSSES = 5
_PUT_BACK_SECONDS = 1.0
_START_AGAIN_SECONDS = 2.0
_SLOW_START_SECONDS = 60.0

_log = get_logger(__name__)


class RunnerLostError(MeshError):
    """The runner has died or cannot be reached: its calls go to another one; claims keep a chunk from running twice."""


class ClusterLostError(MeshError):
    """The cluster does not answer: end this driver; another one will connect anew."""


class Runner(Protocol):
    """One runner."""

    async def ready(self) -> None:
        """Return once it takes calls; that may take as long as the cluster has no room for it.

        Raises:
            RunnerLostError, ClusterLostError: it never will.
        """
        ...

    async def run(self, message: dict[str, Any]) -> str:
        """Run a chunk; return its outcome.

        Raises:
            RunnerLostError, ClusterLostError: whether it ran is unknown.
        """
        ...


@dataclass(slots=True)
class PoolTask:
    """A chunk that somebody is to run."""

    chunk: str
    priority: int
    message: dict[str, Any]
    losses: int = 0


@dataclass(frozen=True, slots=True)
class PoolDepths:
    """How many tasks wait, how many are with runners, and how many runners are ready."""

    waiting: int
    running: int
    runners: int


@dataclass(slots=True)
class _Member:
    runner: Runner | None = None
    task: PoolTask | None = None

    @property
    def is_idle(self) -> bool:
        return self.runner is not None and self.task is None


@dataclass(slots=True)
class RunnerPool:
    """Gives each runner one task at a time, the most urgent first, and gets runners as long as tasks wait.

    It never ends a runner: idle ones end by themselves, which shows when they are asked.

    Args:
        workload: whose runners these are.
        numbers: which runners it may have; whoever shares the cluster knows them by the same numbers.
        make: gets the runner of a number, or has it made.
        ended: is told what became of a task.
        failed: is told why the pool is of no more use.
    """

    workload: str
    numbers: Iterable[int]
    make: Callable[[int], Coroutine[Any, Any, Runner]]
    ended: Callable[[str, str], None]
    failed: Callable[[BaseException], None]
    _members: dict[int, _Member] = field(default_factory=dict)
    _waiting: list[tuple[int, int, PoolTask]] = field(default_factory=list)
    _chunks: set[str] = field(default_factory=set)
    _sequence: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def depths(self) -> PoolDepths:
        """As they are now."""
        members = self._members.values()
        running = sum(member.task is not None for member in members)
        return PoolDepths(len(self._waiting), running, sum(member.runner is not None for member in members))

    def put(self, task: PoolTask) -> None:
        """Have a task run; one that waits already is not taken twice."""
        if task.chunk in self._chunks:
            return
        self._chunks.add(task.chunk)
        self._sequence += 1
        heapq.heappush(self._waiting, (task.priority, self._sequence, task))
        self._place()

    async def close(self) -> None:
        """Let go; what runs goes on without this driver."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _place(self) -> None:
        for number, member in self._members.items():
            if not self._waiting:
                return
            if member.is_idle:
                _, _, member.task = heapq.heappop(self._waiting)
                self._chunks.discard(member.task.chunk)
                self._go(self._run(number, member, member.task))
        starting = sum(member.runner is None for member in self._members.values())
        for number in self.numbers:
            if starting >= len(self._waiting):
                return
            if number not in self._members:
                self._members[number] = _Member()
                self._go(self._start(number))
                starting += 1

    async def _start(self, number: int) -> None:
        try:
            runner = await self.make(number)
            await self._until_ready(number, runner)
        except RunnerLostError as error:
            _log.warning("a runner did not start", workload=self.workload, number=number, reason=str(error))
            await asyncio.sleep(_START_AGAIN_SECONDS)
            del self._members[number]
        else:
            self._members[number].runner = runner
        self._place()

    async def _until_ready(self, number: int, runner: Runner) -> None:
        becoming = asyncio.ensure_future(runner.ready())
        try:
            while not (await asyncio.wait({becoming}, timeout=_SLOW_START_SECONDS))[0]:
                _log.warning("the cluster has no room for a runner yet", workload=self.workload, number=number)
            becoming.result()
        finally:
            becoming.cancel()

    async def _run(self, number: int, member: _Member, task: PoolTask) -> None:
        if member.runner is None:
            raise ValueError(f"runner {number} is not ready")
        try:
            outcome = await member.runner.run(task.message)
        except RunnerLostError as error:
            _log.info("a runner is gone", workload=self.workload, number=number, reason=str(error))
            del self._members[number]
            task.losses += 1
            self._again(task, is_over=task.losses > _MAX_LOSSES)
        else:
            member.task = None
            if outcome == ChunkOutcome.PUT_BACK.value:
                self._go(self._put_back(task))
            else:
                self.ended(task.chunk, outcome)
        self._place()

    def _again(self, task: PoolTask, *, is_over: bool) -> None:
        if is_over:
            self.ended(task.chunk, LOST)
        else:
            self.put(task)

    async def _put_back(self, task: PoolTask) -> None:
        """The runner has waited long, and leaves the task once it is old: so this ends."""
        await asyncio.sleep(_PUT_BACK_SECONDS)
        self.put(task)

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)
