"""The Ray driver process of a router, on a leash: it ends when the router ends, however that is."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from eldermesh.launch import python_command
from eldermesh.shield import to_its_end
from services.router.engines.ray.environment import ray_environment
from shared.errors import RetryableError
from shared.processes import leash
from shared.processes.children import ends_within, signal_child
from shared.settings import Settings

_DRIVER = "services.router.engines.ray.driver"
_CONNECT_SECONDS = 60.0
_SEND_SECONDS = 5.0
_STOP_SECONDS = 5.0
_DEATH_SECONDS = 15.0
_ANSWER_BYTES = 1024 * 1024


class RayDriverProcess:
    """One driver, connected to the cluster."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, settings: Settings) -> RayDriverProcess:
        """Start a driver; return once it is connected.

        Raises:
            RetryableError: it could not connect within the limit; it has ended again.
        """
        environment = {**os.environ, **settings.environment(), **ray_environment(settings)}
        with open(os.devnull, "wb") as nothing:  # noqa: ASYNC230, PTH123 - opening it takes no time
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), str(nothing.fileno()), "--"),
                *python_command(_DRIVER),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_ANSWER_BYTES,
                start_new_session=True,  # a Ctrl-C at the terminal is for the router to handle
                pass_fds=(nothing.fileno(),),
                env=environment,
                cwd="/",  # Ray lets runners import from where its driver was started
            )
        driver = cls(process)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                answer = await driver.read()
        except BaseException as error:
            await to_its_end(driver.stop())
            if isinstance(error, TimeoutError):
                raise RetryableError(f"the driver of Ray did not connect in {_CONNECT_SECONDS:g} s") from error
            raise
        if answer is None or "lost" in answer:
            await driver.stop()
            reason = "it ended" if answer is None else answer["lost"]
            raise RetryableError(f"the driver of Ray could not connect: {reason}")
        return driver

    async def send(self, requests: list[dict[str, Any]]) -> None:
        """Send requests.

        Raises:
            RetryableError: the driver is gone, or does not read.
        """
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
        self._process.stdin.write("".join(json.dumps(request) + "\n" for request in requests).encode())
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._process.stdin.drain()
        except (ConnectionError, TimeoutError) as error:
            raise RetryableError(f"the driver of Ray takes nothing: {error!r}") from error

    async def read(self) -> dict[str, Any] | None:
        """The next answer; None: the driver has ended.

        Raises:
            RetryableError: the answer cannot be read.
        """
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        try:
            line = await self._process.stdout.readline()
            answer = json.loads(line) if line.endswith(b"\n") else None
        except ValueError as error:  # also raised for a line that is too long
            raise RetryableError(f"the driver of Ray says what is no answer: {error}") from error
        if answer is not None and not isinstance(answer, dict):
            raise RetryableError("the driver of Ray says what is no answer")
        return answer

    async def stop(self) -> None:
        """End the driver: close its input, then kill it if necessary. Runners go on.

        Raises:
            RetryableError: it outlived SIGKILL.
        """
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
        self._process.stdin.close()
        if not await ends_within(self._process, _STOP_SECONDS):
            signal_child(self._process, leash.KILL_NOW)
            if not await ends_within(self._process, _DEATH_SECONDS):
                raise RetryableError(f"the driver of Ray (leash {self._process.pid}) outlived SIGKILL")
