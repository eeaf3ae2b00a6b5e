"""A service and its parts: one that fails ends it at once, with its reason."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from eldermesh.launch import python_command
from shared.errors import RetryableError, StopServiceError
from shared.processes.service_process import until_stopped
from tests.waiting import wait_until


class PlayedPart:
    """A part that fails when it is told to."""

    def __init__(self) -> None:
        self.in_trouble: str | None = None
        self.asked = 0
        self.failing: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Nothing to start."""

    async def wait_failed(self) -> BaseException:
        """As told."""
        return await asyncio.shield(self.failing)

    @property
    def trouble(self) -> str | None:
        """As told; how often it was asked is counted."""
        self.asked += 1
        return self.in_trouble


async def test_a_part_that_fails_ends_the_service_at_once() -> None:
    """Within some turns of the loop, not at the next look at it; the reason is in what is raised."""
    parts = [PlayedPart(), PlayedPart()]
    waiting = asyncio.ensure_future(until_stopped(parts, asyncio.Event()))
    await asyncio.sleep(0)
    parts[1].failing.set_result(RetryableError("the reason"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert waiting.done()
    with pytest.raises(StopServiceError, match="the reason") as raised:
        await waiting
    assert isinstance(raised.value.__cause__, RetryableError)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_told_to_stop_it_returns() -> None:
    """And leaves nothing that watches."""
    stop = asyncio.Event()
    waiting = asyncio.ensure_future(until_stopped([PlayedPart()], stop))
    await asyncio.sleep(0)
    stop.set()
    await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelled_it_leaves_nothing() -> None:
    """Whoever waited for it may be stopped, too."""
    waiting = asyncio.ensure_future(until_stopped([PlayedPart()], asyncio.Event()))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("module", ["services.router", "services.notifier", "services.router.engines.celery.worker"])
def test_an_env_file_that_is_a_pipe_is_refused(module: str, tmp_path: Path) -> None:
    """A service says so and ends, where it would wait for a writer for ever."""
    os.mkfifo(tmp_path / ".env")
    ran = subprocess.run(python_command(module), cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 2
    assert ".env in the working directory cannot be read: a pipe, no regular file" in ran.stderr


async def test_heartbeats_stop_while_a_part_is_in_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come while all parts work, again once the trouble is over, and the file is gone with the service."""
    monkeypatch.setattr("shared.processes.service_process.BEAT_SECONDS", 0.01)
    file, stop, part = tmp_path / "heartbeat", asyncio.Event(), PlayedPart()

    async def beats() -> bool:
        file.unlink(missing_ok=True)
        asked = part.asked
        await wait_until(lambda: part.asked >= asked + 3, description="the part was asked three times")
        return file.exists()

    waiting = asyncio.ensure_future(until_stopped([PlayedPart(), part], stop, file))
    await wait_until(file.exists, description="the first heartbeat")
    assert await beats()
    part.in_trouble = "it does not poll"
    assert not await beats()
    part.in_trouble = None
    await wait_until(file.exists, description="a heartbeat after the trouble")
    stop.set()
    await waiting
    assert not file.exists()
