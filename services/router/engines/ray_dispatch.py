"""The submit side of the Ray engine: keeps what was dispatched until a driver has run it, and a driver as long."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

from services.router.engines.chunk_task import ChunkTask
from services.router.engines.ray_environment import wanted_file
from services.router.engines.ray_process import RayDriverProcess
from shared.errors import RetryableError
from shared.logs import get_logger
from shared.settings import Settings
from shared.workloads import Queue

MAX_OUTSTANDING = 10_000
"""Tasks that one router keeps; far more than the windows of its partitions let through."""

_REACH_SECONDS = 2.0
_DOWN_SECONDS = 20.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 3.0

_log = get_logger(__name__)


class RayDispatcher:
    """`EngineQueue` of a Ray cluster.

    Nobody waits for the cluster: a task is kept here, sent to the driver of the moment, and sent to the next one if
    that driver goes before the task has ended. So jobs on Ray wait while Ray is away, and no others do.

    Args:
        settings: where the head is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._outstanding: dict[str, dict[str, Any]] = {}
        self._driver: RayDriverProcess | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._failing_since: float | None = None
        self._depths: dict[str, dict[str, int]] = {}

    @property
    def trouble(self) -> str | None:
        """Why a job had better not go to Ray; None: it may."""
        if self._settings.ray_address is None:
            return "Ray is not configured"
        if self._failing_since is not None and time.monotonic() - self._failing_since > _DOWN_SECONDS:
            return "Ray does not answer"
        return None

    @property
    def outstanding(self) -> int:
        """Tasks that have not ended."""
        return len(self._outstanding)

    @property
    def depths(self) -> dict[str, dict[str, int]]:
        """By workload what the driver told last: `waiting`, `running`, `runners`; empty without a driver."""
        return self._depths

    async def dispatch(self, tasks: Sequence[ChunkTask], *, workload: str, queue: Queue, priority: int) -> None:  # noqa: ARG002 - Ray's runners are of a workload
        """Have chunks run; 0 is the highest priority.

        Raises:
            RetryableError: there is no Ray, or it has not taken what it was given for very long.
        """
        if self._settings.ray_address is None:
            raise RetryableError("a job was routed to Ray, and MESH_RAY_ADDRESS is not set")
        if len(self._outstanding) + len(tasks) > MAX_OUTSTANDING:
            raise RetryableError(f"{len(self._outstanding)} tasks wait for Ray already")
        requests = [
            {"chunk": task.chunk, "workload": workload, "priority": priority, "message": task.message()}
            for task in tasks
        ]
        self._outstanding |= {str(request["chunk"]): request for request in requests}
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep_driver())
        if self._driver is not None:
            with contextlib.suppress(RetryableError):  # then the next driver gets them
                await self._driver.send(requests)

    async def close(self) -> None:
        """End the driver; what runners do goes on."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
            self._keeping = None

    async def _keep_driver(self) -> None:
        """Have a driver, again and again, as long as there is something to run."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._reach_head()
                driver = await RayDriverProcess.start(self._settings)
            except (RetryableError, OSError) as error:
                if self._failing_since is None:
                    self._failing_since = time.monotonic()
                    _log.warning("Ray does not answer yet", reason=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                continue
            if self._failing_since is not None:
                _log.info("Ray answers", tasks=len(self._outstanding))
            self._failing_since = None
            try:
                await self._use(driver)
            finally:
                self._driver = None
                self._depths = {}
                await asyncio.shield(driver.stop())
            pause = _FIRST_PAUSE_SECONDS
            self._failing_since = time.monotonic()
            _log.warning("the driver of Ray has ended; another one is started", tasks=len(self._outstanding))

    async def _use(self, driver: RayDriverProcess) -> None:
        """Give it all that has not ended, and read what it says until it ends."""
        self._driver = driver  # from here on `dispatch` sends to it, too
        try:
            await driver.send(list(self._outstanding.values()))
        except RetryableError as error:
            _log.warning("a driver of Ray is of no use", reason=str(error))
            return
        while (answer := await driver.read()) is not None:
            if "ended" in answer:
                self._outstanding.pop(answer["ended"], None)
            self._depths = answer.get("depths", self._depths)

    async def _reach_head(self) -> None:
        """Ask for a head that is started on demand, and see whether it listens before a process is made for it."""
        if self._settings.ray_on_demand:
            wanted_file(self._settings).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            wanted_file(self._settings).touch()
        host, _, port = str(self._settings.ray_address).rpartition(":")
        async with asyncio.timeout(_REACH_SECONDS):
            _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
