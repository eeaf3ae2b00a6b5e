"""The submit side of the Ray engine: keeps dispatched tasks until they have ended, and a driver to run them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

from eldermesh.counted import counted
from eldermesh.shield import to_its_end
from services.router.engines.chunks.task import ChunkTask
from services.router.engines.ray.driver_process import RayDriverProcess
from shared.errors import RetryableError
from shared.logs.exceptions import told
from shared.logs.setup import get_logger
from shared.ray_head import head_address, reach_head, trouble_file, wanted_file
from shared.settings import Settings
from shared.workloads import Queue

MAX_OUTSTANDING = 10_000
"""Tasks that one router keeps; far more than the windows of its partitions allow."""

_HEAD_SECONDS = 15.0
_RUNNER_SECONDS = 3.0
"""Until a chunk begins, where the driver (and perhaps the head) has to start, or runners alone. Estimates."""

_REACH_SECONDS = 2.0
_DOWN_SECONDS = 20.0
_STEADY_SECONDS = 20.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 3.0

_log = get_logger(__name__)


class RayDispatcher:
    """`EngineQueue` of a Ray cluster.

    No caller waits for the cluster: a task is kept here, sent to the current driver, and sent to the next one if that
    driver ends before the task. So only jobs on Ray wait while Ray does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._head = head_address(settings)
        self._outstanding: dict[str, dict[str, Any]] = {}
        self._driver: RayDriverProcess | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._failing_since: float | None = None
        self._reason = ""
        self._depths: dict[str, dict[str, int]] = {}

    @property
    def trouble(self) -> str | None:
        """Why a job should not go to Ray; None if it may."""
        if self._failing_since is not None and time.monotonic() - self._failing_since > _DOWN_SECONDS:
            return "Ray does not answer"
        return None

    def start_seconds(self, workload: str) -> float:
        """About how long until a chunk of a workload that is sent now begins, if nothing else waits."""
        if self._depths.get(workload, {}).get("runners"):
            return 0.0
        return _HEAD_SECONDS if self._driver is None else _RUNNER_SECONDS

    @property
    def outstanding(self) -> int:
        """Tasks that have not ended."""
        return len(self._outstanding)

    @property
    def depths(self) -> dict[str, dict[str, int]]:
        """By workload the last numbers of the driver: `waiting`, `running`, `runners`; empty without a driver."""
        return self._depths

    async def dispatch(self, tasks: Sequence[ChunkTask], *, workload: str, queue: Queue, priority: int) -> None:  # noqa: ARG002 - Ray's runners are of a workload
        """Queue chunks; 0 is the highest priority.

        Raises:
            RetryableError: too many tasks wait already.
        """
        if len(self._outstanding) + len(tasks) > MAX_OUTSTANDING:
            raise RetryableError(f"{counted(len(self._outstanding), 'task')} wait for Ray already")
        requests = [
            {"chunk": task.chunk, "workload": workload, "priority": priority, "message": task.message()}
            for task in tasks
        ]
        self._outstanding |= {str(request["chunk"]): request for request in requests}
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep_driver(*self._head))
        if self._driver is not None:
            with contextlib.suppress(RetryableError):  # then the next driver gets them
                await self._driver.send(requests)

    async def forget_trouble(self) -> None:
        """Remove the trouble file that a killed router may have left."""
        await asyncio.to_thread(self._write_trouble, None)

    async def close(self) -> None:
        """End the driver; runners go on."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
            if not self._keeping.cancelled() and (error := self._keeping.exception()) is not None:
                _log.error("the driver of Ray did not end in order", reason=repr(error))
            self._keeping = None
        await asyncio.to_thread(self._write_trouble, None)

    async def _keep_driver(self, host: str, port: int) -> None:
        """Keep a driver running until cancelled: whenever one ends or fails, start another."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            failing_since, began = self._failing_since, time.monotonic()
            try:
                await self._reach_head(host, port)
                driver = await RayDriverProcess.start(self._settings)
                began = time.monotonic()
                self._reason = "its driver has ended"
                was_of_use = await self._use(driver)
            except (RetryableError, OSError) as error:
                was_of_use = False
                self._reason = str(error) or repr(error)
            except Exception as error:  # noqa: BLE001 - logged; the next driver may work, and jobs must not hang
                _log.exception("a driver of Ray failed")
                was_of_use = False
                self._reason = told(error)
            if was_of_use or (self._failing_since is None and time.monotonic() - began > _STEADY_SECONDS):
                failing_since, pause = None, _FIRST_PAUSE_SECONDS
            await self._fails(failing_since)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _answers(self) -> None:
        if self._failing_since is not None:
            _log.info("Ray answers", tasks=len(self._outstanding))
            self._failing_since = None
            await asyncio.to_thread(self._write_trouble, None)

    async def _fails(self, since: float | None) -> None:
        """Note trouble with Ray since `since`, or from now. A driver that ends at once does not end the trouble."""
        is_new = self._failing_since is None
        if is_new:
            self._failing_since = time.monotonic() if since is None else since
            _log.warning("Ray does not answer", reason=self._reason, tasks=len(self._outstanding))
        if self.trouble is not None:
            await asyncio.to_thread(self._write_trouble, self._reason)

    def _write_trouble(self, reason: str | None) -> None:
        """Write the trouble for `mesh doctor`, another process; another of its checks reports a full disk."""
        file = trouble_file(self._settings)
        with contextlib.suppress(OSError):
            if reason is None:
                file.unlink(missing_ok=True)
            else:
                file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                file.write_text(reason, encoding="utf-8", errors="replace")

    async def _use(self, driver: RayDriverProcess) -> bool:
        """Send a driver all tasks that have not ended, and read its answers until it ends.

        Returns:
            Whether a task ended in it.

        Raises:
            RetryableError: it does not read, its answer cannot be read, or it outlived SIGKILL.
        """
        was_of_use = False
        try:
            await self._answers()
            self._driver = driver  # from here on `dispatch` sends to it, too
            await driver.send(list(self._outstanding.values()))
            while (answer := await driver.read()) is not None:
                if "ended" in answer:
                    self._outstanding.pop(answer["ended"], None)
                    was_of_use = True
                self._depths = answer.get("depths", self._depths)
                self._reason = answer.get("lost", self._reason)
        finally:
            self._driver = None
            self._depths = {}
            await to_its_end(driver.stop())
        return was_of_use

    async def _reach_head(self, host: str, port: int) -> None:
        """Request the head if it starts on demand, and check that it listens before a driver is started."""
        if self._settings.ray_on_demand:
            wanted_file(self._settings).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            wanted_file(self._settings).touch()
        await reach_head(host, port, seconds=_REACH_SECONDS)
