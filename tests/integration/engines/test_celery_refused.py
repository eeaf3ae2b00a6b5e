"""Redis answers and refuses: for a Celery worker and for the router's dispatcher that is a Redis that is away."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from services.router.engines.celery.app import make_celery_app
from services.router.engines.celery.broker import BROKER_ERRORS
from services.router.engines.celery.ping import ping_workers
from services.router.engines.celery.queue import CeleryDispatcher
from shared.errors import RetryableError
from shared.settings import Settings
from tests.integration.chunk_running import runner_settings
from tests.integration.played_owner import PlayedOwner
from tests.integration.worker_process import WorkerProcess, running_worker
from tests.refusing_redis import WAYS, refusing
from tests.waiting import wait_until

REFUSED_SECONDS = float(os.environ.get("MESH_TEST_AWAY_SECONDS", "8"))
"""How long Redis refuses."""

LEASE_SECONDS = REFUSED_SECONDS / 4
RECOVERED_SECONDS = 15.0
"""Longest until what waited is done; twice what a start takes comes on top, for slow machines."""

pytestmark = pytest.mark.slow


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    """A server that may be made to refuse."""
    server = EmbeddedRedis(tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def settings(embedded_broker: str, redis: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings with topics of their own, and a lease that is over long before Redis takes writes again."""
    async with runner_settings(embedded_broker, redis.url, tmp_path, lease_seconds=LEASE_SECONDS) as made:
        yield made


async def lives_on(worker: WorkerProcess, seconds: float) -> None:
    """The worker's process is there for that long."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds

    def long_enough() -> bool:
        assert worker.process.poll() is None, worker.log.read_text("utf-8")[-2000:]
        return loop.time() > until

    await wait_until(long_enough, description="Redis has refused for long enough", timeout_seconds=seconds + 30.0)


@pytest.mark.parametrize("way", WAYS)
async def test_a_worker_waits_for_a_redis_that_refuses(
    way: str,
    settings: Settings,
    redis: EmbeddedRedis,
    owner: PlayedOwner,
    celery: CeleryDispatcher,
    tmp_path: Path,
) -> None:
    """It lives on, asks again at intervals, and runs what waited, and what comes, as soon as Redis takes writes.

    Nobody loses a task that was in the queue, and who dispatches meanwhile is told to try again.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    with running_worker(settings.model_copy(update={"slots": 1}), tmp_path) as worker:
        await worker.ready()
        running, *waiting = await owner.plan([600.0, 0.0, 0.0], "sleep", chunk_items=1)
        await celery.dispatch([running, *waiting], queue="batch_tasks", priority=3)

        async def runs() -> bool:
            return await owner.claim(running) == "held"

        await wait_until(runs, description="the first one runs, the others wait")
        usual_seconds = loop.time() - began
        (later,) = await owner.plan([0.0], "sleep")
        children = worker.children()
        async with refusing(redis, way):
            with pytest.raises(RetryableError):
                await celery.dispatch([later], queue="batch_tasks", priority=3)
            await lives_on(worker, REFUSED_SECONDS)

        async def taken() -> bool:
            try:
                await celery.dispatch([later], queue="batch_tasks", priority=3)
            except RetryableError:
                return False
            return True

        async def all_done() -> bool:
            return {await owner.claim(task) for task in (*waiting, later)} == {"done"}

        async with asyncio.timeout(RECOVERED_SECONDS + 2 * usual_seconds):
            await wait_until(taken, description="Redis takes tasks again")
            await wait_until(all_done, description="what waited and what came is done")
        assert worker.process.poll() is None
        assert worker.children() == children
        log = worker.log.read_text("utf-8")
        assert log.count("\n") < 60 + 20 * REFUSED_SECONDS, "it asks again at intervals"


@pytest.mark.parametrize("way", WAYS)
async def test_a_ping_says_that_redis_refuses(way: str, settings: Settings, redis: EmbeddedRedis) -> None:
    """Whoever looks for workers is told of Redis, not that there are none."""
    async with refusing(redis, way):
        with pytest.raises(Exception, match=r"(?i)redis|read.only|memory|misconf|master|auth|perm|busy|timeout"):
            await asyncio.to_thread(ping_workers, settings, timeout_seconds=0.5)


@pytest.mark.parametrize("way", WAYS)
async def test_nobody_is_connected_to_a_redis_that_refuses(way: str, settings: Settings, redis: EmbeddedRedis) -> None:
    """A worker takes no task whose delivery Redis would not note; as soon as Redis takes writes, it is connected."""

    def connect() -> bool:
        with make_celery_app(settings) as app, app.connection_for_write() as connection:
            return connection.ensure_connection(max_retries=1).connected

    async with refusing(redis, way):
        with pytest.raises(BROKER_ERRORS):
            await asyncio.to_thread(connect)
    assert await asyncio.to_thread(connect)
