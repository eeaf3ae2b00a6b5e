"""Clients of aiokafka that are cancelled at every step of their start and stop: nothing of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from eldermesh.client.kafka import read_topics, started_consumer, started_producer
from shared.broker import make_admin, make_consumer, make_producer
from shared.incarnation import read_or_create_incarnation
from shared.settings import Settings
from shared.topics import JOBS, JOBS_HISTORY
from tests.fresh_topics import AnyBroker, fresh_topics

_STEPS_AT_MOST = 2000

Life = Callable[[Settings], Awaitable[None]]


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
    """A member of a group."""
    made = make_consumer(settings, group_id=settings.topic("group"))
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
    await read_topics(settings.kafka_bootstrap, settings.topic_prefix)
    async with started_producer(settings.kafka_bootstrap), started_consumer(settings.kafka_bootstrap):
        pass


async def cancelled_after(steps: int, life: Awaitable[None]) -> bool:
    """Cancel it after so many turns of the event loop; return whether it had ended before."""
    task = asyncio.ensure_future(life)
    for _ in range(steps):
        if task.done():
            break
        await asyncio.sleep(0)
    if task.done():
        task.result()
        return True
    task.cancel()
    async with asyncio.timeout(20.0):
        await asyncio.wait({task})
    assert task.cancelled(), f"after {steps} steps the cancellation was swallowed: {task!r}"
    return False


def settled_steps() -> list[int]:
    """Each of the first steps, where most of the awaits are; then ever fewer, since the loop turns idly."""
    return [*range(40), *range(40, 200, 8), *range(200, _STEPS_AT_MOST, 150)]


@pytest.mark.parametrize("life", [producer, consumer, admin, incarnation, users_client, member])
async def test_cancelled_at_every_step(nothing_left: None, any_broker: AnyBroker, life: Life) -> None:
    """It ends cancelled, whatever it was awaiting, and leaves no task, socket or warning of something not closed."""
    unclosed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unclosed.append(context))
    before = asyncio.all_tasks()
    async with fresh_topics(any_broker.bootstrap, any_broker.profile, partitions=1) as settings:
        for steps in settled_steps():
            if await cancelled_after(steps, life(settings)):
                break
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == before, f"tasks are left after {steps} steps"
    gc.collect()
    assert unclosed == []
