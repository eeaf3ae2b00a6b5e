"""A service as a process: its parts start at once, and it runs until it is told to stop or a part stops by itself."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from shared.errors import ConfigurationError, MeshError, StopServiceError
from shared.logs.exceptions import told
from shared.logs.setup import configure_logging, get_logger
from shared.processes.garbage_collection import collect_seldom
from shared.settings import Settings
from shared.telemetry.setup import configure_telemetry, shutdown_telemetry

_WRONG_SETTINGS = 2

_log = get_logger(__name__)


class Part(Protocol):
    """A part of a service that works by itself."""

    async def start(self) -> None:
        """Start it."""
        ...

    async def wait_failed(self) -> BaseException:
        """Wait, without a limit, until it has stopped by itself, and return why."""
        ...


async def start_at_once(parts: Sequence[Part]) -> None:
    """Have all join their groups, at the same time: on the embedded broker a group takes seconds to let one in.

    Raises:
        MeshError: the first part's failure to start.
    """
    try:
        async with asyncio.TaskGroup() as starting:
            for part in parts:
                starting.create_task(part.start())
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
        raise first from first.__cause__


async def until_stopped(parts: Sequence[Part], stop: asyncio.Event) -> None:
    """Wait until `stop` is set.

    Raises:
        StopServiceError: a part stopped by itself; going on would do harm or help nobody.
    """
    stopping = asyncio.create_task(stop.wait(), name="told to stop")
    watches = [asyncio.create_task(part.wait_failed(), name="a part's failure") for part in parts]
    try:
        await asyncio.wait({stopping, *watches}, return_when=asyncio.FIRST_COMPLETED)
        for watch in watches:
            if watch.done():
                failure = watch.result()
                raise StopServiceError(f"the service stops itself: {told(failure)}") from failure
    finally:
        for task in (stopping, *watches):
            task.cancel()
        await asyncio.wait({stopping, *watches})


def settings_of_process(name: str) -> Settings:
    """The settings of the environment; where one is wrong this process says so in a line, and exits with 2.

    Args:
        name: of the program.
    """
    try:
        return Settings.of_environment()
    except ConfigurationError as error:
        sys.stderr.write(f"{name} does not start: {error}\n")
        sys.exit(_WRONG_SETTINGS)


def run_service(name: str, run: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> int:
    """Run a service until SIGTERM or SIGINT; return the exit status: 0 after a stop in order, 1 after a failure.

    It exits with 2 where settings are wrong.

    Args:
        name: of the service in logs and spans.
        run: runs it until the event is set.
    """
    settings = settings_of_process(name)
    configure_logging(settings, name)
    configure_telemetry(settings, name)
    collect_seldom()
    try:
        asyncio.run(_until_signal(settings, run))
    except MeshError as error:
        _log.error("service failed", service=name, reason=str(error), exc_info=error)
        return 1
    finally:
        shutdown_telemetry()
    return 0


async def _until_signal(settings: Settings, run: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop)
