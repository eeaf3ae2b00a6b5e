"""The metrics of Celery's queues, read from a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from eldermesh.stack.redis import EmbeddedRedis
from services.router.engines.celery_app import QUEUES
from services.router.engines.celery_dispatch import CeleryDispatcher
from services.router.queue_depths import QueueDepthMetrics
from shared.telemetry import names, providers
from tests.integration.chunk_running import runner_settings
from tests.integration.played_owner import played_owner
from tests.integration.worker_process import running_worker
from tests.waiting import wait_until

LOOK_SECONDS = 0.05


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    """Collects what this process' metrics are at the moment it is asked, and nothing older."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    providers.install()
    providers.METERS.replace(provider)
    yield reader
    providers.METERS.replace(NoOpMeterProvider())
    provider.shutdown()


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


def numbers(reader: InMemoryMetricReader) -> dict[str, float]:
    """The metrics of the queues now: waiting tasks by queue, and `unacknowledged`."""
    found: dict[str, float] = {}
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data is not None else ():
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            for point in metric.data.data_points:
                if metric.name == names.QUEUE_DEPTH.name and isinstance(point, NumberDataPoint):
                    found[str((point.attributes or {})[names.MESSAGING_DESTINATION_NAME])] = point.value
                if metric.name == names.QUEUE_UNACKNOWLEDGED.name and isinstance(point, NumberDataPoint):
                    found["unacknowledged"] = point.value
    return found


async def test_depths_are_told_while_redis_answers(
    embedded_broker: str, tmp_path: Path, reader: InMemoryMetricReader
) -> None:
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
            await wait_until(lambda: numbers(reader) == expected, description=f"the metrics are {expected}")
            with running_worker(settings.model_copy(update={"slots": 1}), tmp_path) as worker:
                await worker.ready()
                await wait_until(
                    lambda: numbers(reader).get("unacknowledged", 0) >= 1, description="a worker holds a task"
                )
            await redis.stop()
            await wait_until(lambda: numbers(reader) == {}, description="there are no metrics without Redis")
            await redis.start()
            empty = dict.fromkeys((*QUEUES, "unacknowledged"), 0)
            await wait_until(lambda: numbers(reader) == empty, description=f"the metrics are {empty}")
        await celery.close()
