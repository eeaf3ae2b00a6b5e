"""The parent's side of an item host: starts it when needed, calls it, kills it, and tells how it died."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import JsonValue

from eldermesh.launch import users_environment
from eldermesh.shield import to_its_end
from services.router.engines.python import item_host
from services.router.engines.python.host_log import HostLog
from shared.backoff.os_errors import passes
from shared.errors import RetryableError, StillRunningError
from shared.processes import leash
from shared.processes.children import signal_child, signal_name, start_on_leash
from shared.workloads import ItemFailed, ItemOutcome, ItemSucceeded, RunKilledError

START_SECONDS = 60.0
"""For the interpreter to start, and again for a function's module to be imported."""

_CLOSE_SECONDS = 2.0
_DEATH_SECONDS = 15.0
_MAX_ENVELOPE_BYTES = 64 * 1024


class HostDiedError(Exception):
    """The host ended during a call. `status` is its exit status, or minus the signal that killed it."""

    def __init__(self, status: int) -> None:
        super().__init__(describe_death(status))
        self.status = status


class HostTimeoutError(Exception):
    """The host did not answer in time, and was killed."""


def describe_death(status: int) -> str:
    """How a process ended, in words."""
    if status == -signal.SIGKILL:
        return "its process was killed by SIGKILL (out of memory?)"
    if status < 0:
        return f"its process was killed by {signal_name(-status)}"
    return f"its process ended with exit status {status}"


@dataclass(slots=True)
class _Running:
    """A running host."""

    process: Process
    requests: asyncio.StreamWriter
    answers: asyncio.StreamReader
    log: HostLog
    draining: asyncio.Task[None]
    pid: int
    """Of the host itself, not of its leash."""
    loaded: set[str]


class ItemProcess:
    """One item host at a time, started at the first call and after each death. One call at a time.

    It belongs to the event loop and thread of its first call: the host dies with that thread.
    """

    def __init__(self) -> None:
        self._running: _Running | None = None
        self.killed = False
        """Whether it was killed or closed: it takes no more calls."""
        self.peak_bytes = 0
        """Peak resident memory of the host that answered last."""

    @property
    def pid(self) -> int | None:
        """The process id of the host; None while none runs."""
        return None if self._running is None else self._running.pid

    async def call(
        self,
        function: str,
        item: JsonValue,
        *,
        timeout_seconds: float | None,
        before: Callable[[], None] | None = None,
    ) -> ItemOutcome:
        """Call `module:qualname` with an item. Starting the host and importing the module do not count as its time.

        `before` is called just before the function; what it raises ends the host, and the function is not called.

        Raises:
            HostDiedError: the host ended before it answered.
            HostTimeoutError: it took longer than `timeout_seconds`, or the import longer than `START_SECONDS`.
            RunKilledError: `kill` was called.
            RetryableError: no host could be started.
        """
        answered = False
        try:
            outcome = await self._call(function, item, timeout_seconds, before)
            answered = True
        except (EOFError, ConnectionError) as end:
            if self.killed:
                raise RunKilledError from end
            raise HostDiedError(await self._end()) from end
        finally:
            if not answered:
                await to_its_end(self._end())
        return outcome

    def kill(self) -> None:
        """Kill the host and all that user code started. No call follows; other tasks may call this."""
        self.killed = True
        self._kill_host()

    async def close(self) -> None:
        """End the host: close its input, then kill it if necessary."""
        self.killed = True
        running = self._running
        if running is not None:
            running.requests.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await running.process.wait()
        await self._end()

    async def _call(
        self, function: str, item: JsonValue, timeout_seconds: float | None, before: Callable[[], None] | None
    ) -> ItemOutcome:
        running = self._running or await self._start()
        if self.killed:
            raise RunKilledError
        running.log.next_item()
        if function not in running.loaded:
            async with _limit(START_SECONDS, "importing its module took"):
                answer = await self._ask(running, "load", function, None)
            if answer["status"] != "loaded":
                return ItemFailed(answer["error_type"], answer["error_message"], duration_seconds=0.0)
            running.loaded.add(function)
        if before is not None:
            before()
        began = time.monotonic()
        async with _limit(timeout_seconds, "it took"):
            answer = await self._ask(running, "call", function, item)
            output = await _read_frame(running.answers, item_host.MAX_OUTPUT_BYTES) if _succeeded(answer) else b""
        took = time.monotonic() - began
        self.peak_bytes = answer["peak_bytes"]
        if _succeeded(answer):
            return ItemSucceeded(output, duration_seconds=took)
        return ItemFailed(answer["error_type"], answer["error_message"], duration_seconds=took)

    @staticmethod
    async def _ask(running: _Running, ask: Literal["load", "call"], function: str, item: JsonValue) -> dict[str, Any]:
        content = json.dumps({"ask": ask, "function": function, "item": item}).encode()
        running.requests.write(item_host.HEADER.pack(len(content)) + content)
        await running.requests.drain()
        return await _read_answer(running.answers)

    async def _start(self) -> _Running:
        try:
            # The leash holds the host and everything user code starts, also when this process is killed.
            command = (sys.executable, "-P", item_host.__file__)
            process = await start_on_leash(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=users_environment())
        except OSError as error:
            if passes(error):
                raise RetryableError(f"no process for an item host: {error}") from error
            raise
        assert process.stdin is not None  # noqa: S101 - for the type checker: all three are pipes
        assert process.stdout is not None  # noqa: S101 - the same
        assert process.stderr is not None  # noqa: S101 - the same
        log = HostLog(process.stderr, process.pid)
        draining = asyncio.create_task(log.drain())
        self._running = _Running(process, process.stdin, process.stdout, log, draining, process.pid, set())
        if self.killed:  # while there was nothing to kill yet
            self._kill_host()
        try:
            async with asyncio.timeout(START_SECONDS):
                self._running.pid = log.pid = (await _read_answer(process.stdout))["pid"]
        except (EOFError, TimeoutError) as error:
            if self.killed:
                raise RunKilledError from error
            raise RetryableError(f"no item host could be started: {describe_death(await self._end())}") from error
        return self._running

    def _kill_host(self) -> None:
        if self._running is not None:
            signal_child(self._running.process, leash.KILL_NOW)

    async def _end(self) -> int:
        """End the host if it has not ended, and return its exit status."""
        running = self._running
        if running is None:
            return 0
        if running.answers.at_eof():  # it is ending by itself: wait for its own status
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await running.process.wait()
        self._kill_host()
        try:
            async with asyncio.timeout(_DEATH_SECONDS):
                status = await running.process.wait()
                await asyncio.wait({running.draining})
        except TimeoutError as error:
            raise StillRunningError(f"item host {running.pid} outlived SIGKILL") from error
        finally:
            running.draining.cancel()
            running.requests.close()
            self._running = None
        return status


@asynccontextmanager
async def _limit(seconds: float | None, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise HostTimeoutError(f"{what} longer than {seconds:g} s") from error


def _succeeded(answer: dict[str, Any]) -> bool:
    return bool(answer["status"] == "succeeded")


async def _read_answer(stream: asyncio.StreamReader) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await _read_frame(stream, _MAX_ENVELOPE_BYTES))
    return answer


async def _read_frame(stream: asyncio.StreamReader, max_bytes: int) -> bytes:
    """Read one frame.

    Raises:
        EOFError: the stream ended first (`asyncio.IncompleteReadError` is one).
        ConnectionError: the frame is longer than any of the host: something else wrote it.
    """
    (length,) = item_host.HEADER.unpack(await stream.readexactly(item_host.HEADER.size))
    if length > max_bytes:
        raise ConnectionError(f"a frame of {length} bytes")
    return await stream.readexactly(length)
