"""The metrics of Celery's queues, read from a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from services.router.engines.celery.app import QUEUES
from services.router.engines.celery.queue import CeleryDispatcher
from services.router.engines.celery.queue_depths import QueueDepthMetrics
from shared.telemetry import metric_names, names
from tests.integration.chunk_running import runner_settings
from tests.integration.played_owner import played_owner
from tests.integration.worker_process import running_worker
from tests.metric_reader import MetricReader, metric_reader
from tests.waiting import wait_until

LOOK_SECONDS = 0.05


@pytest.fixture
def reader() -> Iterator[MetricReader]:
    """The metrics of this process."""
    with metric_reader() as reader:
        yield reader


@asynccontextmanager
async def looking(celery: CeleryDispatcher) -> AsyncIterator[None]:
    """Look at the queues all the while."""
    task = asyncio.create_task(QueueDepthMetrics(celery).keep_looking(LOOK_SECONDS))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled(), task


@asynccontextmanager
async def a_redis(directory: Path) -> AsyncIterator[EmbeddedRedis]:
    """A Redis of its own, to be stopped and started."""
    redis = EmbeddedRedis(directory)
    await redis.start()
    try:
        yield redis
    finally:
        await redis.stop()


def numbers(reader: MetricReader) -> dict[str, float]:
    """The metrics of the queues now: waiting tasks by queue, and `unacknowledged`."""
    waiting = reader.values(metric_names.QUEUE_DEPTH, names.MESSAGING_DESTINATION_NAME)
    held = reader.values(metric_names.QUEUE_UNACKNOWLEDGED, "")
    return waiting | ({"unacknowledged": held[""]} if held else {})


async def become(reader: MetricReader, expected: Mapping[str, float]) -> None:
    """The metrics become these; if not, the failure shows what they are."""
    with contextlib.suppress(AssertionError):
        await wait_until(lambda: numbers(reader) == expected, description="the metrics are as expected")
    assert numbers(reader) == expected


async def test_depths_are_told_while_redis_answers(embedded_broker: str, tmp_path: Path, reader: MetricReader) -> None:
    """What waits, by queue, and what a worker holds; while there is no Redis there is no number either."""
    async with (
        a_redis(tmp_path) as redis,
        runner_settings(embedded_broker, redis.url, tmp_path) as settings,
        played_owner(settings) as owner,
    ):
        celery = CeleryDispatcher(settings)
        async with looking(celery):
            tasks = await owner.plan([60] * 5, "sleep", chunk_items=1)
            await celery.dispatch(tasks[:2], queue="batch_tasks", priority=0)
            await celery.dispatch(tasks[2:4], queue="batch_tasks", priority=6)
            await celery.dispatch(tasks[4:], queue="claude_tasks", priority=3)
            expected = dict.fromkeys(QUEUES, 0) | {"batch_tasks": 4, "claude_tasks": 1, "unacknowledged": 0}
            await become(reader, expected)
            assert reader.values(metric_names.REDIS_MEMORY, "")[""] > 100_000
            assert reader.values(metric_names.REDIS_MEMORY_LIMIT, "") == {}  # it has none
            with running_worker(settings.model_copy(update={"slots": 1}), tmp_path) as worker:
                await worker.ready()
                await wait_until(
                    lambda: numbers(reader).get("unacknowledged", 0) >= 1, description="a worker holds a task"
                )
            await redis.stop()
            await become(reader, {})
            assert reader.values(metric_names.REDIS_MEMORY, "") == {}
            await redis.start()
            empty = dict.fromkeys((*QUEUES, "unacknowledged"), 0)
            await become(reader, empty)
        await celery.close()


async def test_a_second_router_of_a_process_tells_its_depths(
    embedded_broker: str, tmp_path: Path, reader: MetricReader
) -> None:
    """One that stopped takes its numbers away; the next in the same process has its own."""
    async with a_redis(tmp_path) as redis, runner_settings(embedded_broker, redis.url, tmp_path) as settings:
        empty = dict.fromkeys((*QUEUES, "unacknowledged"), 0)
        for _ in range(2):
            celery = CeleryDispatcher(settings)
            async with looking(celery):
                await become(reader, empty)
            assert numbers(reader) == {}
            await celery.close()
