"""The health check of a container, as the container runs it, on real services that stand still or lose a task."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from eldermesh.launch import python_command
from eldermesh_cli.stack.processes.child import OwnedProcess
from services.notifier.app import make_app as make_notifier
from services.router.app import make_app as make_router
from shared.errors import StopServiceError
from shared.health.parts import NOTIFIER, ROUTER
from shared.settings import Settings
from tests.fresh_topics import fresh_topics
from tests.serving import serving
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

SERVICES = {
    "router": ("services.router", ("services.router.health", "router")),
    "worker": ("services.router.engines.celery.worker", ("services.router.health", "worker")),
    "claude_exec": ("services.claude_exec", ("services.claude_exec.health",)),
    "sages": ("services.sages", ("services.sages.health",)),
    "notifier": ("services.notifier", ("services.notifier.health",)),
}


@pytest.fixture
async def settings(embedded_broker: str, redis_server: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings with topics of their own and a heartbeat file."""
    overrides = {
        "data_dir": tmp_path,
        "redis_url": SecretStr(redis_server),
        "heartbeat_file": tmp_path / "heartbeat",
        "slots": 2,
    }
    async with fresh_topics(embedded_broker, "embedded", **overrides) as made:
        yield made


async def told(settings: Settings, check: tuple[str, ...]) -> tuple[int, str]:
    """Exit status and line of the check that a container runs."""

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "eldermesh.launch", *check],
            env=os.environ | settings.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    ran = await asyncio.to_thread(run)
    return ran.returncode, ran.stderr


async def until_told(settings: Settings, check: tuple[str, ...], status: int) -> str:
    """Wait until the check ends with this status; what it says then."""
    said = ""

    async def tells() -> bool:
        nonlocal said
        found, said = await told(settings, check)
        return found == status

    await wait_until(tells, description=f"the check ends with {status}", interval_seconds=0.5)
    return said


@pytest.mark.parametrize("name", SERVICES)
async def test_a_process_that_stands_still(name: str, settings: Settings, tmp_path: Path) -> None:
    """Healthy once it works, unhealthy while SIGSTOP holds it, healthy after SIGCONT; it leaves no heartbeat."""
    module, check = SERVICES[name]
    process = OwnedProcess(
        list(python_command(module)), log_path=tmp_path / "log", env=os.environ | settings.environment()
    )
    assert "has not started" in (await told(settings, check))[1]
    process.start()
    try:
        await until_told(settings, check, 0)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        try:
            assert "does not work: its last heartbeat" in await until_told(settings, check, 1)
        finally:
            os.kill(process.pid, signal.SIGCONT)
        await until_told(settings, check, 0)
    finally:
        await process.stop(30)
    assert (await told(settings, check))[0] == 1


async def test_an_owner_that_was_cancelled(settings: Settings) -> None:
    """A library that cancels an owner's task ends no service: its partition stands still, and the check says so."""
    check = SERVICES["router"][1]
    async with serving(make_router(settings), settings, ROUTER.trouble):
        await until_told(settings, check, 0)
        owner = next(task for task in asyncio.all_tasks() if task.get_name().startswith("owner "))
        owner.cancel()
        assert "does not work: its last heartbeat" in await until_told(settings, check, 1)


async def test_a_consume_loop_that_was_cancelled(settings: Settings) -> None:
    """The service sees it and ends, and so does its heartbeat."""
    check = SERVICES["notifier"][1]
    app = make_notifier(settings)

    async def loses_its_loop() -> None:
        async with serving(app, settings, NOTIFIER.trouble):
            await until_told(settings, check, 0)
            assert app.broker is not None
            for task in app.broker.subscribers[0].tasks:  # type: ignore[attr-defined]
                task.cancel()
            assert "has stopped: no heartbeat" in await until_told(settings, check, 1)

    with pytest.raises(StopServiceError, match="consume loop"):
        await loses_its_loop()
