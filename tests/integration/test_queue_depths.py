"""The metrics of Celery's queues: read from a real Redis, sent by this process' telemetry to a real receiver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from eldermesh.stack.otlp_receiver import otlp_receiver
from eldermesh.stack.redis import EmbeddedRedis
from services.router.engines.celery_app import QUEUES
from services.router.engines.celery_dispatch import CeleryDispatcher
from services.router.queue_depths import QueueDepthMetrics
from shared.settings import Settings
from shared.telemetry.setup import configure_telemetry, current_telemetry
from tests.integration.chunk_running import runner_settings
from tests.integration.played_owner import played_owner
from tests.integration.worker_process import running_worker
from tests.waiting import wait_until

LOOK_SECONDS = 0.05


@pytest.fixture(autouse=True)
def _exports_nowhere() -> Iterator[None]:
    yield
    configure_telemetry(Settings(otlp_endpoint=None), "tests")


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
async def exported(directory: Path) -> AsyncIterator[str]:
    """A new receiver, to which this process' metrics go from now on."""
    async with otlp_receiver(directory / "spans.sqlite") as url:
        await asyncio.to_thread(configure_telemetry, Settings(otlp_endpoint=url), "router")
        yield url
        await asyncio.to_thread(configure_telemetry, Settings(otlp_endpoint=None), "tests")


async def numbers(url: str) -> dict[str, float]:
    """What the receiver has of the queues after an export; waiting tasks by queue, and `unacknowledged`."""
    telemetry = current_telemetry()
    assert telemetry is not None
    assert await asyncio.to_thread(telemetry.flush)
    async with httpx.AsyncClient() as client:
        lines = (await client.get(f"{url}/metrics")).text.splitlines()
    found: dict[str, float] = {}
    for line in lines:
        if line.startswith("eldermesh_queue_depth{"):
            found[line.partition('messaging_destination_name="')[2].partition('"')[0]] = float(line.rpartition(" ")[2])
        if line.startswith("eldermesh_queue_unacknowledged{"):
            found["unacknowledged"] = float(line.rpartition(" ")[2])
    return found


async def test_depths_are_exported_while_redis_answers(embedded_broker: str, tmp_path: Path) -> None:
    """What waits, by queue, and what a worker holds; while there is no Redis there is no number either."""
    redis = EmbeddedRedis(tmp_path)
    await redis.start()
    async with runner_settings(embedded_broker, redis.url, tmp_path) as settings, played_owner(settings) as owner:
        celery = CeleryDispatcher(settings)
        async with looking(celery):
            tasks = await owner.plan([60] * 5, "sleep", chunk_items=1)
            await celery.dispatch(tasks[:2], queue="batch_tasks", priority=0)
            await celery.dispatch(tasks[2:4], queue="batch_tasks", priority=6)
            await celery.dispatch(tasks[4:], queue="claude_tasks", priority=3)
            async with exported(tmp_path) as url:
                expected = dict.fromkeys(QUEUES, 0.0) | {"batch_tasks": 4.0, "claude_tasks": 1.0, "unacknowledged": 0.0}
                await _are(url, expected)
                with running_worker(settings.model_copy(update={"slots": 1}), tmp_path) as worker:
                    await worker.ready()
                    await _held(url)
            await redis.stop()
            (tmp_path / "other").mkdir()
            async with exported(tmp_path / "other") as url:
                await _are(url, {})
                await redis.start()
                await _are(url, dict.fromkeys((*QUEUES, "unacknowledged"), 0.0))
        await celery.close()
    await redis.stop()


async def _are(url: str, expected: dict[str, float]) -> None:
    async def are() -> bool:
        return await numbers(url) == expected

    await wait_until(are, description=f"the metrics are {expected}")


async def _held(url: str) -> None:
    async def one_is() -> bool:
        return (await numbers(url))["unacknowledged"] >= 1.0

    await wait_until(one_is, description="a worker holds a task")
