"""Celery's connections to Redis: what is left of them when they are closed, and what becomes of who loses one."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from services.router.engines.celery.ping import ping_workers
from services.router.engines.celery.queue import CeleryDispatcher
from services.router.engines.chunks.task import ChunkTask
from shared.errors import RetryableError
from shared.redis_client import make_redis
from shared.settings import Settings
from tests.integration.chunk_running import runner_settings
from tests.integration.played_owner import PlayedOwner, played_owner
from tests.integration.worker_process import WorkerProcess, running_worker
from tests.waiting import wait_until

_DEATHS = 8


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    """A server that nobody else is connected to."""
    server = EmbeddedRedis(tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def settings(embedded_broker: str, redis: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings with topics of their own."""
    async with runner_settings(embedded_broker, redis.url, tmp_path) as made:
        yield made


async def clients(settings: Settings) -> set[str]:
    """Addresses from which this process is connected to the server, by the server's list, but for the one that asks."""
    own = {f"{each.laddr.ip}:{each.laddr.port}" for each in psutil.Process().net_connections("tcp")}
    async with aclosing(make_redis(settings)) as redis:
        asking = await redis.client_id()
        rows: list[dict[str, Any]] = await redis.client_list()
    return {row["addr"] for row in rows if int(row["id"]) != asking} & own


async def gone(settings: Settings, before: set[str]) -> None:
    """Wait until the server has no connection that was not there before."""

    async def none_left() -> bool:
        return not await clients(settings) - before

    await wait_until(none_left, description="no connection is left")


async def test_a_closed_dispatcher_leaves_none(settings: Settings, owner: PlayedOwner) -> None:
    """Whatever it did before, and beside another one with the same address, which goes on."""
    tasks = await owner.plan([1, 2], chunk_items=1)
    other = CeleryDispatcher(settings)
    await other.dispatch(tasks, queue="batch_tasks", priority=3)
    before = await clients(settings)
    dispatcher = CeleryDispatcher(settings)
    await dispatcher.dispatch(tasks, queue="batch_tasks", priority=3)
    await dispatcher.queue_depths()
    assert await clients(settings) - before
    await dispatcher.close()
    await gone(settings, before)
    await other.dispatch(tasks, queue="batch_tasks", priority=3)
    assert (await other.queue_depths()).waiting["batch_tasks"] == 6
    await other.close()


async def test_a_dispatcher_connects_again(settings: Settings, redis: EmbeddedRedis, owner: PlayedOwner) -> None:
    """Redis goes and comes back: calls fail meanwhile, work afterwards, and nothing is left either."""
    tasks = await owner.plan([1])
    dispatcher = CeleryDispatcher(settings)
    await dispatcher.dispatch(tasks, queue="batch_tasks", priority=3)
    await redis.stop()
    with pytest.raises(RetryableError):
        await dispatcher.dispatch(tasks, queue="batch_tasks", priority=3)
    await redis.start()
    before = await clients(settings)
    await dispatcher.dispatch(tasks, queue="batch_tasks", priority=3)
    assert (await dispatcher.queue_depths()).waiting["batch_tasks"] == 1
    await dispatcher.close()
    await gone(settings, before)


@pytest.mark.slow
async def test_a_ping_leaves_none(settings: Settings, tmp_path: Path) -> None:
    """Answered or not."""
    before = await clients(settings)
    assert ping_workers(settings, timeout_seconds=0.1) == []
    await gone(settings, before)
    with running_worker(settings, tmp_path) as worker:
        await worker.ready()
        before = await clients(settings)
        assert len(ping_workers(settings, timeout_seconds=60.0, limit=1)) == 1
        await gone(settings, before)


@pytest.mark.slow
async def test_a_worker_with_work_and_a_free_slot_outlives_redis(embedded_broker: str, tmp_path: Path) -> None:
    """Redis dies again and again, while one child runs a chunk and Celery waits for another task: no process ends.

    Of Celery's two connections the one for commands may see it first: then the other still waits for a task's answer,
    and cannot be closed in order.
    """
    redis = EmbeddedRedis(tmp_path, append_only=True)
    await redis.start()
    try:
        async with runner_settings(embedded_broker, redis.url, tmp_path, slots=2, lease_seconds=60.0) as settings:
            with running_worker(settings, tmp_path) as worker:
                await _outlives_redis(settings, redis, worker)
    finally:
        await redis.stop()


async def _outlives_redis(settings: Settings, redis: EmbeddedRedis, worker: WorkerProcess) -> None:
    await worker.ready()
    children = worker.children()
    dispatcher = CeleryDispatcher(settings)
    async with played_owner(settings) as owner:

        async def claimed(task: ChunkTask, word: str) -> bool:
            assert worker.process.poll() is None, worker.log.read_text("utf-8")[-2000:]
            return await owner.claim(task) == word

        (running,) = await owner.plan([600.0], "sleep")
        await dispatcher.dispatch([running], queue="batch_tasks", priority=3)
        await wait_until(partial(claimed, running, "held"), description="the first one runs")
        for _ in range(_DEATHS):
            assert redis.service.pid is not None
            os.kill(redis.service.pid, signal.SIGKILL)
            await redis.service.wait()
            await redis.start()
            (other,) = await owner.plan([1])
            await dispatcher.dispatch([other], queue="batch_tasks", priority=3)
            await wait_until(partial(claimed, other, "done"), description="what comes is done")
        assert worker.children() == children
        assert await claimed(running, "held")
        await dispatcher.close()
