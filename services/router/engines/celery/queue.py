"""The submit side of the Celery engine: a thread publishes, so that no event loop waits for Redis."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from celery import uuid
from celery.utils.nodenames import anon_nodename
from kombu import Connection

from services.router.engines.celery.app import QUEUES, RUN_CHUNK, make_celery_app
from services.router.engines.celery.broker import BROKER_ERRORS
from services.router.engines.chunks.task import ChunkTask
from shared.errors import RetryableError
from shared.logs.exceptions import told
from shared.logs.setup import get_logger
from shared.settings import Settings
from shared.workloads import Queue

MAX_WAITING_CALLS = 64
_PERSISTENT = 2

T = TypeVar("T")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class QueueDepths:
    """Tasks in Celery's hands: `waiting` in each queue, `unacknowledged` with workers (dead ones included).

    And the memory of the Redis that holds them; `memory_limit_bytes` is 0 if it has no limit of its own.
    """

    waiting: dict[str, int]
    unacknowledged: int
    memory_bytes: int
    memory_limit_bytes: int


class CeleryDispatcher:
    """Sends tasks to Celery's queues and counts them; a call takes at most `timeout_seconds`."""

    def __init__(self, settings: Settings, *, timeout_seconds: float = 5.0) -> None:
        self._app = make_celery_app(settings)
        self._origin = anon_nodename()
        self._timeout_seconds = timeout_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="celery-publisher")
        self._waiting = 0
        self._outgoing: defaultdict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
        self._next_push: asyncio.Task[None] | None = None
        self._last_push: asyncio.Task[None] | None = None
        # Only for the publisher thread. Celery's own pools would stay open as long as the process.
        self._connection: Connection | None = None

    async def dispatch(
        self,
        tasks: Sequence[ChunkTask],
        *,
        queue: Queue,
        priority: int,
        workload: str = "",  # noqa: ARG002 - part of `EngineQueue`; the queue is enough here
    ) -> None:
        """Put tasks into a queue; 0 is the highest priority.

        Raises:
            RetryableError: Redis did not take them; some may be queued all the same, which is harmless.
        """
        self._outgoing[queue, priority] += [task.message() for task in tasks]
        if self._next_push is None:
            self._next_push = asyncio.create_task(self._push(self._last_push), name="tasks for Celery")
            self._next_push.add_done_callback(_see)
        await self._limited(self._next_push, seconds=2 * self._timeout_seconds)  # the push before takes its time, too

    async def _push(self, before: asyncio.Task[None] | None) -> None:
        """Push what all callers have brought by the time the push before has ended: one way to the thread for them."""
        if before is not None:
            await asyncio.wait({before})
        self._last_push, self._next_push = self._next_push, None
        outgoing, self._outgoing = self._outgoing, defaultdict(list)
        await self._in_thread(lambda: self._send(outgoing))

    async def queue_depths(self) -> QueueDepths:
        """How many tasks wait, and how many are with workers.

        Raises:
            RetryableError: Redis did not answer.
        """
        return await self._in_thread(self._depths)

    async def close(self) -> None:
        """Close the connection; waiting calls fail."""
        try:
            await self._in_thread(self._close)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)
            if pushes := {push for push in (self._last_push, self._next_push) if push is not None}:
                await asyncio.wait(pushes)  # from now on the thread takes nothing

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run `work` in the publisher thread, which goes on with it after the time limit.

        Raises:
            RetryableError: Redis failed, the time is over, or too many calls wait already.
        """
        if self._waiting >= MAX_WAITING_CALLS:
            raise RetryableError(f"{self._waiting} calls to Celery wait already")
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        future.add_done_callback(self._done)
        return await self._limited(future, seconds=self._timeout_seconds)

    async def _limited(self, future: asyncio.Future[T], *, seconds: float) -> T:
        """Wait for what goes on without the caller."""
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(future)
        except RetryableError:
            raise
        except TimeoutError as error:
            raise RetryableError(f"Celery's Redis did not answer in {seconds:g} s") from error
        except BROKER_ERRORS as error:
            raise RetryableError(f"Celery's Redis does not answer, or refuses: {error!r}") from error
        except Exception as error:  # nothing was acknowledged, so the caller can only try again
            _log.exception("a call to Celery failed")
            raise RetryableError(f"Celery failed: {told(error)}") from error

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        _see(future)

    def _send(self, outgoing: Mapping[tuple[str, int], Sequence[dict[str, Any]]]) -> None:
        with self._connected() as connection:
            channel: Any = connection.default_channel
            for (queue, priority), messages in outgoing.items():
                written = [self._written(channel, message, queue, priority) for message in messages]
                with channel.conn_or_acquire() as client:
                    client.lpush(channel._q_for_pri(queue, priority), *written)  # noqa: SLF001 - there is no public one

    def _written(self, channel: Any, message: dict[str, Any], queue: str, priority: int) -> str:
        """A task as Celery and kombu write it. `send_task` does so, too, and takes several times as long for one."""
        task: Any = self._app.amqp.create_task_message(
            uuid(),
            RUN_CHUNK,
            kwargs=message,
            ignore_result=True,
            origin=self._origin,
            argsrepr="",
            kwargsrepr=message["chunk"],  # what Flower shows; else all of them are formatted
        )
        body = orjson.dumps(task.body).decode()
        envelope = channel.prepare_message(
            body, priority, "application/json", "utf-8", task.headers, {**task.properties, "delivery_mode": _PERSISTENT}
        )
        channel._inplace_augment_message(envelope, "", queue)  # noqa: SLF001 - of each message that is published
        return orjson.dumps(envelope).decode()

    def _depths(self) -> QueueDepths:
        with self._connected() as connection:
            channel: Any = connection.default_channel
            # The queue's own count, by priority: `queue_declare(passive=True)` fails for an empty queue.
            waiting = {name: int(channel._size(name)) for name in QUEUES}  # noqa: SLF001 - there is no public one
            unacknowledged = int(channel.client.hlen(channel.unacked_key))
            memory: dict[str, Any] = channel.client.info("memory")
            return QueueDepths(waiting, unacknowledged, int(memory["used_memory"]), int(memory["maxmemory"]))

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """The connection, replaced after any failure."""
        if self._connection is None:
            self._connection = self._app.connection_for_write()
        try:
            yield self._connection
        except BaseException:
            self._release()
            raise

    def _release(self) -> None:
        if self._connection is not None:
            self._connection.release()
            self._connection = None

    def _close(self) -> None:
        self._release()
        self._app.close()


def _see(future: asyncio.Future[Any]) -> None:
    """Mark its error as read: nobody may wait for it any more."""
    if not future.cancelled():
        future.exception()
