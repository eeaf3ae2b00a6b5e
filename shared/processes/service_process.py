"""A service's parts: they start at once, and it runs until it is told to stop or a part stops by itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from shared.errors import ConfigurationError, StopServiceError
from shared.health.heartbeat import BEAT_SECONDS, Heartbeat
from shared.logs.exceptions import told
from shared.logs.setup import get_logger
from shared.settings import Settings

_WRONG_SETTINGS = 2

_log = get_logger(__name__)


class Part(Protocol):
    """A part of a service that works by itself."""

    async def start(self) -> None:
        """Start it."""

    async def wait_failed(self) -> BaseException:
        """Wait, without a limit, until it has stopped by itself, and return why."""

    @property
    def trouble(self) -> str | None:
        """Why it does not work now, though it was started; None if it does."""


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


async def until_stopped(parts: Sequence[Part], stop: asyncio.Event, heartbeat_file: Path | None = None) -> None:
    """Wait until `stop` is set; meanwhile write the heartbeat, as long as no part is in trouble.

    Raises:
        StopServiceError: a part stopped by itself; going on would do harm or help nobody.
    """
    stopping = asyncio.create_task(stop.wait(), name="told to stop")
    watches = [asyncio.create_task(part.wait_failed(), name="a part's failure") for part in parts]
    heartbeat = Heartbeat(heartbeat_file, partial(_trouble_of, parts))
    beat_seconds = None if heartbeat_file is None else BEAT_SECONDS
    try:
        ended: set[asyncio.Task[Any]] = set()
        while not ended:
            if (trouble := heartbeat.beat()) is not None:
                _log.error("no heartbeat", reason=trouble)
            ended, _ = await asyncio.wait(
                {stopping, *watches}, timeout=beat_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        for watch in watches:
            if watch.done():
                failure = watch.result()
                raise StopServiceError(f"the service stops itself: {told(failure)}") from failure
    finally:
        for task in (stopping, *watches):
            task.cancel()
        await asyncio.wait({stopping, *watches})
        heartbeat.end()


def _trouble_of(parts: Sequence[Part]) -> str | None:
    return next((part.trouble for part in parts if part.trouble is not None), None)


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
