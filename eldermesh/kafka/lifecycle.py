"""Start and stop aiokafka clients within a time limit; no connection or task is left, even after a cancellation.

aiokafka itself leaves a connection open when its start is cancelled, does not close what is left when its stop is
cancelled, swallows that cancellation, and stops an idempotent producer only when Kafka has taken all of its records.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiokafka
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError  # noqa: TID251 - the layer translates them

from eldermesh.kafka.refusal import refusal
from eldermesh.shield import to_its_end

START_SECONDS = 30.0
STOP_SECONDS = 5.0
"""Longest that a client is given to stop in order; then its connections are closed and its tasks cancelled."""

_CANCEL_AGAIN_SECONDS = 0.2
_CANCELS = 25
_AIOKAFKA = str(Path(aiokafka.__file__).parent)

_log = logging.getLogger(__name__)


async def start_whole(client: Any, start: Callable[[], Awaitable[None]], *, seconds: float = START_SECONDS) -> None:
    """Start an aiokafka client; unless that succeeds, nothing of it is left.

    Raises:
        KafkaRefusedError: a broker refuses it.
        KafkaError: it could not be started within `seconds`.
    """
    starting = asyncio.create_task(_close_unknown_connection(start))
    scope = asyncio.timeout(seconds)
    try:
        async with scope:
            await asyncio.shield(starting)
    except BaseException as error:
        await to_its_end(break_off(client, starting))
        if isinstance(error, TimeoutError) and scope.expired():
            raise KafkaTimeoutError(f"not connected within {seconds:g} s") from error
        if isinstance(error, KafkaConnectionError) and (refused := await refusal(_kafka_of(client))) is not None:
            raise refused from error
        raise


async def stop_whole(client: Any, stop: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Stop an aiokafka client: in order if `STOP_SECONDS` suffice. A cancellation takes effect once it is gone."""
    await to_its_end(_stop(client, stop))


async def _close_unknown_connection(start: Callable[[], Awaitable[None]]) -> None:
    try:
        await start()
    except BaseException as error:
        # The first connection is known to the frame of `bootstrap` alone, which does not close it when cancelled.
        for frame, _ in traceback.walk_tb(error.__traceback__):
            connection = frame.f_locals.get("bootstrap_conn") if frame.f_code.co_name == "bootstrap" else None
            if connection is not None:
                connection.close()
        raise


async def _stop(client: Any, stop: Callable[[], Coroutine[Any, Any, None]]) -> None:
    # A task of the client that has not begun yet would make its stop raise CancelledError.
    await asyncio.sleep(0)
    stopping = asyncio.create_task(stop())
    await asyncio.wait({stopping}, timeout=STOP_SECONDS)
    if stopping.done() and not stopping.cancelled() and stopping.exception() is None:
        return
    failure = stopping.exception() if stopping.done() and not stopping.cancelled() else None
    _log.warning("a Kafka client did not stop in order: %r", failure or f"not within {STOP_SECONDS:g} s")
    await break_off(client, stopping)


async def break_off(client: Any, *tasks: asyncio.Task[None]) -> None:
    """Close the client's connections and end `tasks` and its own, whatever they are at."""
    client._closed = True  # noqa: SLF001 - here and below: aiokafka has no public way to close what does not answer
    accumulator = getattr(client, "_message_accumulator", None)
    if accumulator is not None:
        _fail_all(accumulator)
    kafka = _kafka_of(client)
    closed: list[Any] = []
    left: set[asyncio.Task[Any]] = set()
    for _ in range(_CANCELS):
        closed += [connection.close() for connection in kafka._conns.values()]  # noqa: SLF001
        kafka._conns.clear()  # noqa: SLF001
        left = {task for task in (*tasks, *_tasks_of(client, kafka)) if not task.done()}
        if not left:
            break
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_CANCEL_AGAIN_SECONDS)
    else:
        _log.error("tasks of a Kafka client do not end: %r", left)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # seen
    fetcher: Any = getattr(client, "_fetcher", None)
    if fetcher is not None:
        for waiter in fetcher._fetch_waiters:  # noqa: SLF001
            fetcher._notify(waiter)  # noqa: SLF001
    if pending := [future for future in closed if future is not None and not future.done()]:
        await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)


def _kafka_of(client: Any) -> Any:
    """The `AIOKafkaClient` that holds the connections."""
    return client.client if hasattr(client, "_message_accumulator") else client._client  # noqa: SLF001


def _fail_all(accumulator: Any) -> None:
    accumulator.fail_all(KafkaConnectionError("the producer was closed before this was acknowledged"))
    for waiting in accumulator._batches.values():  # noqa: SLF001
        for batch in waiting:
            see_drain(batch)
    accumulator._batches.clear()  # noqa: SLF001


def see_drain(batch: Any) -> None:
    """Take note of why a batch failed. Often nobody waits for room in it: the loop would then log that error."""
    batch._drain_waiter.exception()  # noqa: SLF001


def _tasks_of(client: Any, kafka: Any) -> set[asyncio.Task[Any]]:
    names = ("_sender", "_message_accumulator", "_fetcher", "_coordinator")
    parts = [client, kafka, *(part for name in names if (part := getattr(client, name, None)) is not None)]
    return {task for task in asyncio.all_tasks() if any(_runs_in(task) is part for part in parts)}


def _runs_in(task: asyncio.Task[Any]) -> object:
    """The object of aiokafka whose method a task runs; None for other tasks."""
    code = getattr(task.get_coro(), "cr_code", None)
    frame = getattr(task.get_coro(), "cr_frame", None)
    if code is None or frame is None or not code.co_filename.startswith(_AIOKAFKA):
        return None
    return frame.f_locals.get("self")
