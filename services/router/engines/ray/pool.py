"""The runners of one workload, as a driver uses them: which tasks wait, when to start more, what a death means."""

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
"""Outcome of a task on which runners died too often; its owner takes care of it."""

_MAX_LOSSES = 5
_PUT_BACK_SECONDS = 1.0
_START_AGAIN_SECONDS = 2.0
_SLOW_START_SECONDS = 60.0

_log = get_logger(__name__)


class RunnerLostError(MeshError):
    """The runner cannot be reached. Its task goes to another one; claims keep a chunk from running twice."""


class ClusterLostError(MeshError):
    """The cluster does not answer: this driver has to end, and another one connects."""


class Runner(Protocol):
    """One runner."""

    async def ready(self) -> None:
        """Return once it takes calls, which may take as long as the cluster has no room for it.

        Raises:
            RunnerLostError, ClusterLostError: it never will take calls.
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
    """A chunk to run."""

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
    """Gives each runner one task at a time, the most urgent first, and gets more runners while tasks wait.

    It never ends a runner: idle ones end by themselves, which the pool notices at their next call.

    Args:
        workload: the workload of the runners.
        numbers: the numbers of its runners; drivers that share the cluster use the same.
        make: gets the runner of a number, or makes it.
        ended: called with the chunk and the outcome of each task.
        failed: called with the error that makes the pool unusable.
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
        """The current numbers."""
        members = self._members.values()
        running = sum(member.task is not None for member in members)
        return PoolDepths(len(self._waiting), running, sum(member.runner is not None for member in members))

    def put(self, task: PoolTask) -> None:
        """Queue a task, unless its chunk is queued already."""
        if task.chunk in self._chunks:
            return
        self._chunks.add(task.chunk)
        self._sequence += 1
        heapq.heappush(self._waiting, (task.priority, self._sequence, task))
        self._place()

    async def close(self) -> None:
        """Stop; what runs goes on without this driver."""
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
            if task.losses > _MAX_LOSSES:
                self.ended(task.chunk, LOST)
            else:
                self.put(task)
        else:
            member.task = None
            if outcome == ChunkOutcome.PUT_BACK.value:
                self._go(self._put_back(task))
            else:
                self.ended(task.chunk, outcome)
        self._place()

    async def _put_back(self, task: PoolTask) -> None:
        """Queue a task again. This ends, because a runner leaves a task once it is old."""
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
