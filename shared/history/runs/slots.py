"""Runs what the owners of its own process dispatch: so many at once, each under a claim."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar
from uuid import uuid4

from shared.errors import RetryableError
from shared.history.chunk_id import ChunkId
from shared.history.clock import Clock
from shared.history.runs.claim_request import Unclaimed, claimed_lease
from shared.history.runs.claims import ClaimStore
from shared.history.runs.lease import Lease
from shared.logs.exceptions import ends_the_task
from shared.logs.setup import job_logs
from shared.settings import Settings


class SlotTask(Protocol):
    """What a slot runs."""

    @property
    def partition(self) -> int:
        """The history partition of its subject."""

    @property
    def chunk(self) -> ChunkId:
        """What is claimed; its `job_id` is the subject."""


TaskT = TypeVar("TaskT", bound=SlotTask)

_log = logging.getLogger(__name__)


class SlotRunner(ABC, Generic[TaskT]):
    """Takes tasks as owners dispatch them; the owners' windows bound how many wait here.

    Args:
        kind: what runs, in one word for logs: `request`.
        claims: where they are claimed.
        worker_id: who runs, without spaces.
        settings: lease and heartbeat.
        clock: of the lease.
        claim_timeout_seconds: after how long an owner sends again what was not claimed.
    """

    def __init__(
        self,
        kind: str,
        claims: ClaimStore,
        *,
        worker_id: str,
        settings: Settings,
        clock: Clock,
        claim_timeout_seconds: float,
    ) -> None:
        self._kind = kind
        self._claims = claims
        self._worker_id = worker_id
        self._settings = settings
        self._clock = clock
        self._claim_timeout_seconds = claim_timeout_seconds
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._taken_at: dict[str, float] = {}
        self._closing = False
        self._running = 0
        self.stopping = asyncio.Event()
        """Set when what runs is to be interrupted."""

    @abstractmethod
    def slots(self, task: TaskT) -> asyncio.Semaphore:
        """Where the task waits for its turn."""

    @abstractmethod
    async def run(self, task: TaskT, lease: Lease) -> None:
        """Run what was claimed.

        Raises:
            RetryableError: this run ends, and its claim dies by its lease.
        """

    def job_id(self, task: TaskT) -> str:
        """The id that log lines carry."""
        return task.chunk.job_id

    def running_changed(self, running: int) -> None:
        """Called when the number of tasks that have a slot has changed."""

    def take(self, task: TaskT) -> None:
        """Run a task when there is a free slot; one that is here already is not taken twice."""
        name = str(task.chunk)
        if self._closing:
            return
        self._taken_at[name] = self._clock.monotonic()
        if name in self._tasks:
            return
        running = asyncio.create_task(self._take(task), name=f"{self._kind} {name}")
        self._tasks[name] = running
        running.add_done_callback(lambda _: self._forget(name))

    async def stop(self, drain_seconds: float) -> None:
        """Begin nothing more, wait so long for what runs, then interrupt it. On return nothing of it goes on."""
        self._closing = True
        if self._running and self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=drain_seconds)
        self.stopping.set()
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    def _forget(self, name: str) -> None:
        del self._tasks[name], self._taken_at[name]

    async def _take(self, task: TaskT) -> None:
        while self._asks_again(task, await self._take_a_slot(task)):
            pass  # those that wait for a slot were first

    def _asks_again(self, task: TaskT, unclaimed: Unclaimed | None) -> bool:
        """Whether a claim is to be asked for once more.

        While Redis does not answer, always: the owner needs Redis, too, and may send the task again only long after
        Redis is back. When Redis says "not yet", until the owner would send the task again.
        """
        if unclaimed is Unclaimed.NOT_YET:
            waited = self._clock.monotonic() - self._taken_at[str(task.chunk)]
            return waited <= self._claim_timeout_seconds
        return unclaimed is Unclaimed.NO_ANSWER

    async def _take_a_slot(self, task: TaskT) -> Unclaimed | None:
        """Run it, if it can be claimed; otherwise say why not."""
        async with self.slots(task):
            if self._closing:
                return None
            self._count(1)
            try:
                with job_logs(self.job_id(task)):
                    return await self._claim_and_run(task)
            except RetryableError as error:
                _log.warning("%s %s: this run ends, its claim will die: %s", self._kind, task.chunk.job_id, error)
            except BaseException as error:
                if ends_the_task(error):
                    raise
                # It is logged, and concerns this run alone.
                _log.exception("%s %s: this run failed, its claim will die", self._kind, task.chunk.job_id)
            finally:
                self._count(-1)
        return None

    async def _claim_and_run(self, task: TaskT) -> Unclaimed | None:
        claimed = await claimed_lease(
            self._claims,
            task.partition,
            task.chunk,
            runner=self._worker_id,
            run=uuid4().hex,
            settings=self._settings,
            clock=self._clock,
            is_stopping=lambda: self._closing,
        )
        if isinstance(claimed, Unclaimed):
            return claimed
        _, lease = claimed
        await self.run(task, lease)
        return None

    def _count(self, more: int) -> None:
        self._running += more
        self.running_changed(self._running)
