"""Workers of some queues, and housekeeping by Beat: real workers, real Beats, a real Redis."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from eldermesh.launch import python_command
from eldermesh_cli.stack.processes.child import OwnedProcess
from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from services.router.engines.celery.housekeeping import REMOVE_OLD_BLOBS
from services.router.engines.celery.queue import CeleryDispatcher
from shared.health.heartbeat import STALE_SECONDS
from shared.settings import Settings
from tests.integration.chunk_running import runner_settings
from tests.integration.played_owner import PlayedOwner
from tests.integration.worker_process import running_worker
from tests.waiting import wait_until

RETENTION_SECONDS = 3600.0
HOUSEKEEPING: dict[str, Any] = {"blob_retention_seconds": RETENTION_SECONDS, "housekeeping_seconds": 1.0, "slots": 1}

pytestmark = pytest.mark.slow


@pytest.fixture
async def settings(embedded_broker: str, redis_server: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Topics and queues of their own; blobs are kept for an hour, and Beat sends a task each second."""
    async with runner_settings(embedded_broker, redis_server, tmp_path, **HOUSEKEEPING) as made:
        yield made


async def waits(celery: CeleryDispatcher, queue: str) -> int:
    """Tasks that wait in a queue."""
    return (await celery.queue_depths()).waiting[queue]


async def test_a_worker_takes_only_its_queues(
    settings: Settings, owner: PlayedOwner, celery: CeleryDispatcher, tmp_path: Path
) -> None:
    """A batch worker whose image lacks the CLI must get no Claude chunk: those wait for a worker of theirs."""
    claude, batch = await owner.plan([1, 2], chunk_items=1)
    await celery.dispatch([claude], queue="claude_tasks", priority=0)
    await celery.dispatch([batch], queue="batch_tasks", priority=6)

    async def batch_ran() -> bool:
        return await owner.claim(batch) == "done"

    async def claude_ran() -> bool:
        return await owner.claim(claude) == "done"

    (tmp_path / "batch").mkdir()
    (tmp_path / "claude").mkdir()
    with running_worker(settings, tmp_path / "batch", queues="batch_tasks,housekeeping"):
        await wait_until(batch_ran, description="the batch chunk runs")
        # The more urgent one was sent first: whoever might take it would have.
        assert await waits(celery, "claude_tasks") == 1
        assert await owner.claim(claude) is None
        with running_worker(settings, tmp_path / "claude", queues="claude_tasks"):
            await wait_until(claude_ran, description="the Claude chunk runs")


def aged_blob(settings: Settings, name: str, age: float) -> Path:
    """A blob of this age."""
    path = settings.data_dir / "blobs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"content")
    then = time.time() - age
    os.utime(path, (then, then))
    return path


async def until_removed(blob: Path) -> None:
    """Wait until a blob is gone."""
    await wait_until(lambda: not blob.exists(), description="the old blob is removed")


@pytest.fixture
def beats(settings: Settings, tmp_path: Path) -> list[OwnedProcess]:
    """Two Beats, each with a heartbeat file of its own, not started."""
    return [
        OwnedProcess(
            list(python_command("services.router.engines.celery.beat")),
            log_path=tmp_path / f"beat-{number}.log",
            env=os.environ | settings.environment() | {"MESH_HEARTBEAT_FILE": str(tmp_path / f"heartbeat-{number}")},
        )
        for number in range(2)
    ]


async def test_two_beats_have_old_blobs_removed(
    settings: Settings, celery: CeleryDispatcher, beats: list[OwnedProcess], tmp_path: Path
) -> None:
    """Old ones go, again and again, young ones stay; no task fails, and both Beats stop in order."""
    young = aged_blob(settings, "default/job-1/0.json", RETENTION_SECONDS - 600)
    with running_worker(settings, tmp_path, queues="housekeeping") as worker, ExitStack() as stack:
        await worker.ready()
        for beat in beats:
            stack.callback(beat.kill)
            beat.start()
        for number in range(3):
            old = aged_blob(settings, f"default/job-2/{number}.json", RETENTION_SECONDS + 60)
            await until_removed(old)
        for beat in beats:
            await beat.stop(20)
            assert beat.poll() == 0
        assert young.exists()
        log = worker.log.read_text("utf-8")
    assert "removed 1 old blob" in log
    assert "Traceback" not in log
    assert not (tmp_path / "heartbeat-0").exists()


async def test_tasks_do_not_pile_up_while_no_worker_takes_them(
    settings: Settings, celery: CeleryDispatcher, beats: list[OwnedProcess], tmp_path: Path
) -> None:
    """A worker that comes late drops those that have expired, and runs the next."""
    old = aged_blob(settings, "default/job-1/0.json", RETENTION_SECONDS + 60)
    beat = beats[0]
    beat.start()
    try:

        async def several_wait() -> bool:
            return await waits(celery, "housekeeping") >= 4

        await wait_until(several_wait, description="tasks wait")
        with running_worker(settings, tmp_path, queues="housekeeping") as worker:
            await until_removed(old)
            log = worker.log.read_text("utf-8")
        assert f"Discarding revoked task: {REMOVE_OLD_BLOBS}" in log
    finally:
        await beat.stop(20)


async def test_a_beat_that_stands_still_has_no_heartbeat(beats: list[OwnedProcess], tmp_path: Path) -> None:
    """It is young while Beat works, and as old as a health check says no to while SIGSTOP holds it."""
    beat, file = beats[0], tmp_path / "heartbeat-0"

    def age() -> float:
        return time.time() - file.stat().st_mtime

    beat.start()
    try:
        await wait_until(file.exists, description="the first heartbeat")
        assert beat.pid is not None
        os.kill(beat.pid, signal.SIGSTOP)
        await wait_until(lambda: age() > STALE_SECONDS, description="the heartbeat is stale")
        os.kill(beat.pid, signal.SIGCONT)
        await wait_until(lambda: age() < STALE_SECONDS, description="the next heartbeat")
    finally:
        await beat.stop(20)


async def test_beat_refuses_what_it_cannot_do(settings: Settings, tmp_path: Path) -> None:
    """Retention of another store than a directory: status 2, and what to do."""
    beat = OwnedProcess(
        list(python_command("services.router.engines.celery.beat")),
        log_path=tmp_path / "beat.log",
        env=os.environ | settings.environment() | {"MESH_BLOB_URL": "s3://bucket/blobs"},
    )
    beat.start()
    await wait_until(lambda: beat.poll() is not None, description="it has ended")
    assert beat.poll() == 2
    assert "lifecycle rule" in (tmp_path / "beat.log").read_text("utf-8")


async def test_beat_goes_on_after_redis_was_away(embedded_broker: str, tmp_path: Path) -> None:
    """It loses its connection, waits, and sends again; the worker, too, takes tasks again."""
    redis = EmbeddedRedis(tmp_path)
    await redis.start()
    try:
        async with runner_settings(embedded_broker, redis.url, tmp_path, **HOUSEKEEPING) as settings:
            beat = OwnedProcess(
                list(python_command("services.router.engines.celery.beat")),
                log_path=tmp_path / "beat.log",
                env=os.environ | settings.environment(),
            )
            beat.start()
            try:
                with running_worker(settings, tmp_path, queues="housekeeping") as worker:
                    await worker.ready()
                    await until_removed(aged_blob(settings, "default/job-1/0.json", RETENTION_SECONDS + 60))
                    await redis.stop()
                    await redis.start()
                    await until_removed(aged_blob(settings, "default/job-1/1.json", RETENTION_SECONDS + 60))
            finally:
                await beat.stop(20)
            assert beat.poll() == 0
    finally:
        await redis.stop()
