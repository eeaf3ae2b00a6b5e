"""The router's side of Ray: whatever befalls a driver, another one is had, and trouble is known."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.router.engines.chunks.task import ChunkTask
from services.router.engines.ray import queue
from services.router.engines.ray.driver_process import RayDriverProcess
from services.router.engines.ray.queue import RayDispatcher
from shared.errors import RetryableError
from shared.ray_head import head_address, trouble_file
from shared.settings import Settings
from tests.waiting import wait_until

TASK = ChunkTask(
    topic="t.jobs.history",
    partition=0,
    chunk="0b4b7c1e-0000-4000-8000-000000000000/0/1/0-0",
    dispatched_at=1,
    attempt=1,
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)


class PlayedDriver:
    """A driver that answers what it is told to, and then ends; with a failure in place of an answer it raises that."""

    def __init__(self, *answers: dict[str, Any] | Exception, stop: Exception | None = None) -> None:
        self._answers = list(answers)
        self._stop = stop
        self.sent: list[dict[str, Any]] = []
        self.was_stopped = False

    async def send(self, requests: list[dict[str, Any]]) -> None:
        """Note what it is asked."""
        self.sent += requests

    async def read(self) -> dict[str, Any] | None:
        """The next answer."""
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def stop(self) -> None:
        """End."""
        self.was_stopped = True
        if self._stop is not None:
            raise self._stop


class Drivers:
    """What the next drivers are, or how they fail to start; after the last no other one starts."""

    def __init__(self, *drivers: PlayedDriver | Exception) -> None:
        self._drivers = list(drivers)
        self.started = 0

    async def start(self, _: Settings) -> PlayedDriver:
        """The next one."""
        self.started += 1
        driver = self._drivers.pop(0) if self._drivers else RetryableError("no more of them")
        if isinstance(driver, Exception):
            raise driver
        return driver


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    """A head that listens."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield Settings(ray_address=f"127.0.0.1:{port}", data_dir=tmp_path, _env_file=None)
    server.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(queue, "_LONGEST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(queue, "_DOWN_SECONDS", 0.1)


async def dispatched(settings: Settings) -> RayDispatcher:
    """A dispatcher that was given one task."""
    dispatcher = RayDispatcher(settings)
    await dispatcher.dispatch([TASK], workload="python", queue="batch_tasks", priority=3)
    return dispatcher


@pytest.mark.parametrize(
    "drivers",
    [
        Drivers(PlayedDriver(stop=RetryableError("it outlived SIGKILL")), PlayedDriver({"ended": TASK.chunk})),
        Drivers(PlayedDriver(ValueError("a line without end")), PlayedDriver({"ended": TASK.chunk})),
        Drivers(PlayedDriver({"depths": {}}), ValueError("no such port"), PlayedDriver({"ended": TASK.chunk})),
        Drivers(OSError("no process more"), RuntimeError("never seen before"), PlayedDriver({"ended": TASK.chunk})),
    ],
    ids=["would not die", "says nonsense", "cannot be started", "fails in new ways"],
)
async def test_whatever_befalls_a_driver_the_next_one_gets_the_task(
    drivers: Drivers, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a driver is seen, and no task hangs for it."""
    monkeypatch.setattr(RayDriverProcess, "start", drivers.start)
    dispatcher = await dispatched(settings)
    await wait_until(lambda: dispatcher.outstanding == 0, description="the task has ended")
    await dispatcher.close()


async def test_a_driver_that_never_connects_is_trouble_that_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy learns it, `mesh doctor` reads the reason; both forget it as soon as a driver stays."""
    failure = RetryableError("the driver of Ray could not connect: 'ascii' codec can't encode")
    stays = PlayedDriver()
    forever = asyncio.Event()

    async def read() -> None:
        await forever.wait()

    monkeypatch.setattr(stays, "read", read)
    drivers = Drivers(*[failure] * 50, stays)
    monkeypatch.setattr(RayDriverProcess, "start", drivers.start)
    dispatcher = await dispatched(settings)
    await wait_until(lambda: dispatcher.trouble, description="it is in trouble")
    told = await wait_until(
        lambda: trouble_file(settings).exists() and trouble_file(settings).read_text("utf-8"),
        description="the trouble is told",
    )
    assert told == str(failure)
    await wait_until(lambda: stays.sent, description="a driver stays")
    assert dispatcher.trouble is None
    await wait_until(lambda: not trouble_file(settings).exists(), description="the trouble is over")
    await dispatcher.close()


async def test_trouble_that_a_killed_router_has_told_is_over(settings: Settings) -> None:
    """The next router knows of none: `mesh doctor` would tell the old reason until Ray fails again."""
    trouble_file(settings).parent.mkdir(parents=True)
    trouble_file(settings).write_text("the node is gone", encoding="utf-8")
    dispatcher = RayDispatcher(settings)
    await dispatcher.forget_trouble()
    assert dispatcher.trouble is None
    assert not trouble_file(settings).exists()


async def test_drivers_that_live_a_moment_are_trouble_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connects, loses the cluster and ends: that is no end of the trouble."""
    drivers = Drivers(*(PlayedDriver({"lost": "the node is gone"}) for _ in range(1000)))
    monkeypatch.setattr(RayDriverProcess, "start", drivers.start)
    dispatcher = await dispatched(settings)
    await wait_until(lambda: dispatcher.trouble, description="it is in trouble")
    assert drivers.started >= 2  # on a busy machine the time is over with the second
    told = await wait_until(
        lambda: trouble_file(settings).exists() and trouble_file(settings).read_text("utf-8"),
        description="the trouble is told",
    )
    assert told == "the node is gone"
    await dispatcher.close()
    assert not trouble_file(settings).exists()


async def test_closed_while_it_says_that_ray_answers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver that has just connected is stopped, too."""
    driver = PlayedDriver()
    monkeypatch.setattr(RayDriverProcess, "start", Drivers(RetryableError("not yet"), driver).start)
    dispatcher = RayDispatcher(settings)
    is_saying, may_go_on = asyncio.Event(), threading.Event()
    loop, closing = asyncio.get_running_loop(), False

    def say(reason: str | None) -> None:
        if reason is None and not closing:
            loop.call_soon_threadsafe(is_saying.set)
            may_go_on.wait(10.0)

    monkeypatch.setattr(dispatcher, "_write_trouble", say)
    await dispatcher.dispatch([TASK], workload="python", queue="batch_tasks", priority=3)
    async with asyncio.timeout(60.0):
        await is_saying.wait()
    closing = True
    await dispatcher.close()
    may_go_on.set()
    assert driver.was_stopped


@pytest.mark.parametrize(
    ("address", "head"), [("ray-head:6379", ("ray-head", 6379)), ("[::1]:6379", ("::1", 6379))], ids=["name", "ipv6"]
)
def test_the_address_of_a_head(address: str, head: tuple[str, int], tmp_path: Path) -> None:
    """A name, or an address of either kind."""
    assert head_address(Settings(ray_address=address, data_dir=tmp_path, _env_file=None)) == head
