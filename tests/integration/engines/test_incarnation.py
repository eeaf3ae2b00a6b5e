"""Another incarnation of the log: what Redis holds of the former one goes, and nobody who works meanwhile notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from services.router.engines.celery.app import make_celery_app
from services.router.engines.celery.health import worker_trouble
from services.router.engines.celery.queue import CeleryDispatcher
from shared.history.foreign_state import celery_key_prefix, drop_foreign_state
from shared.redis_client import make_redis
from shared.settings import Settings
from tests.integration.played_owner import PlayedOwner
from tests.integration.worker_process import running_worker
from tests.waiting import wait_until


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    """A client; what the test wrote goes in the end."""
    async with aclosing(make_redis(settings)) as client:
        yield client
        async for key in client.scan_iter(match=f"*{settings.topic_prefix}*"):
            await client.unlink(key)


def bind_queue(settings: Settings) -> None:
    """Declare a queue, as a worker does when it starts."""
    app = make_celery_app(settings)
    with app.connection_for_write() as connection:
        app.amqp.queues["batch_tasks"](connection.default_channel).declare()
    app.close()


async def test_states_and_tasks_of_another_log_go_once(
    settings: Settings, redis: Redis, owner: PlayedOwner, celery: CeleryDispatcher
) -> None:
    """States, claims and tasks go, bindings and what belongs to others stay; the second time there is nothing to do."""
    tasks = await owner.plan([1, 2], chunk_items=1)
    await celery.dispatch(tasks, queue="batch_tasks", priority=3)
    await asyncio.to_thread(bind_queue, settings)
    await redis.set(f"other-{settings.topic_prefix}", "stays")
    incarnation = str(uuid4())
    assert await drop_foreign_state(redis, settings, incarnation)
    left = {name.decode() async for name in redis.scan_iter(match=f"*{settings.topic_prefix}*")}
    bindings = {name for name in left if name.startswith(f"{celery_key_prefix(settings)}_kombu.binding")}
    assert bindings
    assert left - bindings == {f"other-{settings.topic_prefix}", f"{{h:{settings.topic_prefix}}}:incarnation"}
    assert set((await celery.queue_depths()).waiting.values()) == {0}
    (kept,) = await owner.plan([3])
    assert not await drop_foreign_state(redis, settings, incarnation)
    assert await redis.hexists(owner.keys.specs, kept.chunk_id.job_id)


async def test_all_of_a_partition_goes_at_once(settings: Settings, redis: Redis, owner: PlayedOwner) -> None:
    """Else an owner whose token is still there could find states gone, and take an ended job for a new one."""
    await owner.plan([1, 2], chunk_items=1)
    await redis.hset(owner.keys.meta, "token", "t")
    await redis.sadd(owner.keys.live, "job")
    await redis.rpush(owner.keys.settled, "3 job")
    before = {name async for name in redis.scan_iter(match=f"{{h:{owner.topic}:{owner.partition}}}*")}
    assert len(before) >= 5
    async with redis.monitor() as monitor:
        await drop_foreign_state(redis, settings, str(uuid4()))
        await redis.echo("over")
        calls: list[set[bytes]] = []
        async for said in monitor.listen():
            command, *names = said["command"].split(" ")
            if command.upper() == "ECHO":
                break
            if command.upper() == "UNLINK":
                calls.append({name.encode() for name in names} & before)
    assert [names for names in calls if names] == [before]


@pytest.mark.slow
async def test_a_worker_that_started_first_goes_on(
    settings: Settings, redis: Redis, owner: PlayedOwner, celery: CeleryDispatcher, tmp_path: Path
) -> None:
    """Worker and dispatcher are connected when the state goes: bindings stay, a ping is answered, tasks run."""

    async def run_one() -> None:
        (task,) = await owner.plan([1])
        await celery.dispatch([task], queue="batch_tasks", priority=3)

        async def done() -> bool:
            return await owner.claim(task) == "done"

        await wait_until(done, description="the task is done")

    with running_worker(settings, tmp_path) as worker:
        await worker.ready()
        await run_one()
        bindings = f"{celery_key_prefix(settings)}_kombu.binding.batch_tasks"
        written = await redis.smembers(bindings)
        assert await drop_foreign_state(redis, settings, str(uuid4()))
        assert written
        assert await redis.smembers(bindings) == written
        assert await worker_trouble(settings) is None
        await run_one()
