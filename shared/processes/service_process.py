"""A service's parts: they start at once, and it runs until it is told to stop or a part stops by itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Protocol

from shared.errors import ConfigurationError, StopServiceError
from shared.logs.exceptions import told
from shared.settings import Settings

_WRONG_SETTINGS = 2


class Part(Protocol):
    """A part of a service that works by itself."""

    async def start(self) -> None:
        """Start it."""

    async def wait_failed(self) -> BaseException:
        """Wait, without a limit, until it has stopped by itself, and return why."""


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
