"""Clients of aiokafka that are cancelled at every step of their start and stop: nothing of them is left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

import pytest

from eldermesh.client.kafka import read_topics, started_consumer, started_producer
from shared.kafka.clients import make_admin, make_consumer, make_producer
from shared.kafka.incarnation import read_or_create_incarnation
from shared.kafka.topics import JOBS, JOBS_HISTORY
from shared.settings import Settings
from tests.fresh_topics import AnyBroker, fresh_topics

_MOST_STEPS = 5000

Life = Callable[[Settings], Coroutine[Any, Any, None]]


async def producer(settings: Settings) -> None:
    """A producer that sends one record."""
    made = make_producer(settings)
    try:
        await made.start()
        await made.send_and_wait(settings.topic(JOBS), b"x", partition=0)
    finally:
        await made.stop()


async def consumer(settings: Settings) -> None:
    """A consumer without a group, stopped as soon as it has started."""
    made = make_consumer(settings)
    try:
        await made.start()
    finally:
        await made.stop()


async def member(settings: Settings) -> None:
    """A member of a group of its own: one that was cancelled is expected back there for a while."""
    made = make_consumer(settings, group_id=settings.topic(uuid4().hex))
    made.subscribe([settings.topic(JOBS_HISTORY)])
    try:
        await made.start()
    finally:
        await made.stop()


async def admin(settings: Settings) -> None:
    """An admin client."""
    made = make_admin(settings)
    try:
        await made.start()
    finally:
        await made.close()


async def incarnation(settings: Settings) -> None:
    """One client after the other, with a limit over them all."""
    await read_or_create_incarnation(settings)


async def users_client(settings: Settings) -> None:
    """What the public client is made of."""
    await read_topics(settings.kafka, settings.topic_prefix)
    async with started_producer(settings.kafka), started_consumer(settings.kafka):
        pass


async def then_waiting(life: Coroutine[Any, Any, None], ended: asyncio.Event) -> None:
    """Live, and wait for a cancellation: one that was swallowed never comes."""
    await life
    ended.set()
    await asyncio.Event().wait()


async def cancelled_after(steps: int, life: Coroutine[Any, Any, None]) -> bool:
    """Cancel it before the step of that number, of whatever task; return whether it had ended before."""
    loop: Any = asyncio.get_running_loop()
    call_soon = loop.call_soon
    task: asyncio.Task[None] | None = None
    taken = 0

    def counting(callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:
        nonlocal taken
        if task is not None:
            taken += 1
            if taken == steps:
                call_soon(task.cancel)
        handle: asyncio.Handle = call_soon(callback, *args, context=context)
        return handle

    loop.call_soon = counting
    ended = asyncio.Event()
    ending = asyncio.ensure_future(ended.wait())
    task = asyncio.create_task(then_waiting(life, ended))
    try:
        async with asyncio.timeout(60.0):
            await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
            is_over = taken < steps
            if is_over:
                task.cancel()
            await asyncio.wait({task})
    except TimeoutError as error:
        raise AssertionError(f"after {steps} steps the cancellation was swallowed: {task!r}") from error
    finally:
        del loop.call_soon
        ending.cancel()
        await asyncio.wait({ending})
    assert task.cancelled(), f"after {steps} steps: {task!r}"
    return is_over


@pytest.mark.parametrize("life", [producer, consumer, admin, incarnation, users_client, member])
async def test_cancelled_at_every_step(any_broker: AnyBroker, nothing_left: None, life: Life) -> None:
    """It ends cancelled, whatever it was awaiting, and leaves no task, socket or warning of something not closed."""
    unclosed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unclosed.append(context))
    async with fresh_topics(any_broker.bootstrap, any_broker.profile, partitions=1) as settings:
        before = asyncio.all_tasks()
        await life(settings)
        for steps in range(1, _MOST_STEPS, 10 if life is member else 1):
            if await cancelled_after(steps, life(settings)):
                break
            assert asyncio.all_tasks() == before, f"tasks are left after {steps} steps"
        else:
            raise AssertionError("it does not end")
    gc.collect()
    assert unclosed == []
