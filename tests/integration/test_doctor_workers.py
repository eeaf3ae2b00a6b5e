"""What `mesh doctor` says of a Celery worker that is busy, and of one that has stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from eldermesh_cli.operate.checks import services
from eldermesh_cli.operate.checks.check import CheckFailed
from eldermesh_cli.program.target_mesh import Mesh
from shared.health.producer_report import runners_of
from shared.redis_client import make_redis
from shared.settings import Settings
from tests.integration.chunk_running import runner_settings
from tests.integration.worker_process import running_worker
from tests.waiting import wait_until


@pytest.fixture
async def settings(embedded_broker: str, redis_server: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings with topics of their own."""
    async with runner_settings(embedded_broker, redis_server, tmp_path) as made:
        yield made


async def test_a_worker_whose_results_kafka_does_not_take(settings: Settings, tmp_path: Path) -> None:
    """It answers, and fails the check all the same, with the reason that it has noted."""
    mesh = Mesh(settings, "environment")
    with running_worker(settings, tmp_path) as worker:
        await worker.ready()
        assert (await services.workers_answer(mesh)).detail == f"celery@{socket.gethostname()}"
        async with aclosing(make_redis(settings)) as redis:
            key = f"producing:{settings.topic(runners_of('celery', socket.gethostname()))}"
            await redis.set(key, "Kafka has acknowledged no record for 12 s", ex=60)
            with pytest.raises(CheckFailed, match="acknowledged no record for 12 s"):
                await services.workers_answer(mesh)
            await redis.delete(key)


async def test_a_busy_worker_is_asked_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not answer in time is named if it answers later; once it has stopped, nobody is waited for."""
    mesh = Mesh(settings, "environment")
    noted: list[bool] = []
    with running_worker(settings, tmp_path) as worker:
        await worker.ready()
        is_noted = services._worker_is_noted  # noqa: SLF001 - between its two questions the worker wakes up
        named = await services.workers_answer(mesh)

        async def then_wake(asked: Mesh) -> bool:
            noted.append(await is_noted(asked))
            os.kill(worker.process.pid, signal.SIGCONT)
            return noted[-1]

        monkeypatch.setattr(services, "_worker_is_noted", then_wake)
        os.kill(worker.process.pid, signal.SIGSTOP)
        assert await services.workers_answer(mesh) == named
        assert noted == [True]
        monkeypatch.setattr(services, "_worker_is_noted", is_noted)

        worker.process.terminate()
        await wait_until(lambda: worker.process.poll() is not None, description="the worker has stopped")
    monkeypatch.setattr(services, "_BUSY_SECONDS", 600.0)
    with pytest.raises(CheckFailed, match="no Celery worker answers"):
        async with asyncio.timeout(60):
            await services.workers_answer(mesh)
