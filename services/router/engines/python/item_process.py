"""The parent's side of an item host: starts it when needed, calls it, kills it, and tells how it died."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from eldermesh.launch import users_environment
from eldermesh.shield import to_its_end
from services.router.engines.python.host_answers import HostAnswer, HostAnswers, answer_pipe
from services.router.engines.python.host_log import HostLog
from services.router.engines.python.item_host import frames
from services.router.engines.python.slice_progress import SliceProgress, begin_seconds
from shared.backoff.os_errors import passes
from shared.errors import RetryableError, StillRunningError
from shared.processes import leash
from shared.processes.children import signal_child, signal_name, start_on_leash
from shared.workloads import ItemFailed, ItemOutcome, ItemSucceeded, RunKilledError

_HOST = Path(frames.__file__).with_name("__main__.py")

START_SECONDS = 60.0
"""For the interpreter to start, and again for a function's module to be imported."""

_CLOSE_SECONDS = 2.0
_DEATH_SECONDS = 15.0


class HostEndedError(Exception):
    """The host broke off a slice.

    Attributes:
        running: positions of the items that ran: one of them is to blame. Empty: none had begun, or all had ended.
        was_idle: it had served another slice, and has begun nothing of this one: no item is to blame.
        at_once: whether items could run at once.
    """

    def __init__(self, message: str, running: Sequence[int], *, was_idle: bool = False, at_once: bool = False) -> None:
        super().__init__(message)
        self.running = running
        self.was_idle = was_idle
        self.at_once = at_once


class HostDiedError(HostEndedError):
    """The host ended by itself."""


class HostTimeoutError(HostEndedError):
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
    answers: HostAnswers
    log: HostLog
    draining: asyncio.Task[None]
    pid: int
    """Of the host itself, not of its leash."""
    loaded: dict[str, bool]
    """The functions that it has imported, and whether calls of them can run at once."""


class ItemProcess:
    """One item host at a time, started at the first call and after each death. One slice of items at a time.

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

    async def slice(
        self,
        function: str,
        items: Sequence[JsonValue],
        *,
        timeout_seconds: float | None,
        before: Callable[[], float],
        at_once: int = 1,
    ) -> AsyncGenerator[list[tuple[int, ItemOutcome]]]:
        """Call `module:qualname` with items; gives their positions and outcomes as they come.

        Fewer outcomes than items: no time was left for the rest.

        Args:
            function: what is called.
            items: what it is called with.
            timeout_seconds: what each call may take. Starting the host and importing the module do not count.
            before: asked just before the first call, for the time after which no item may begin, by
                `shared.history.clock.SystemClock.monotonic`; what it raises ends the host, and nothing is called.
            at_once: how many calls of a coroutine function may run at a time. Another function is called with the first
                item alone: whoever asks for many at once does not know how long one takes.

        Raises:
            HostDiedError: the host ended before the slice was over.
            HostTimeoutError: an item, or the host between two, took longer than `timeout_seconds`, or the import longer
                than `START_SECONDS`.
            RunKilledError: `kill` was called.
            RetryableError: no host could be started.
        """
        progress: SliceProgress | None = None
        is_over = False
        has_served = self._running is not None
        try:
            running = self._running or await self._start()
            if self.killed:
                raise RunKilledError
            running.log.next_slice()
            failed = await self._load(running, function)
            if failed is not None:
                yield [(position, failed) for position in range(len(items))]
                is_over = True
                return
            if at_once > 1 and not running.loaded[function]:
                items, at_once = items[:1], 1
            not_after = before()
            progress = SliceProgress(
                len(items), began=time.monotonic(), timeout_seconds=timeout_seconds, at_once=at_once > 1
            )
            # User code may have left something that keeps it from reading.
            async with _limit(begin_seconds(timeout_seconds), "it took"):
                await self._send(
                    running,
                    "slice",
                    function=function,
                    items=items,
                    not_after=not_after,
                    at_once=at_once,
                    limit=timeout_seconds,
                )
            async with aclosing(self._answered(running.answers, progress)) as answered:
                async for outcomes in answered:
                    yield outcomes
            is_over = True
        except (EOFError, ConnectionError) as end:
            if self.killed:
                raise RunKilledError from end
            running_items = () if progress is None else progress.running
            was_idle = has_served and not _has_begun(progress)
            message = describe_death(await self._end())
            raise HostDiedError(message, running_items, was_idle=was_idle, at_once=at_once > 1) from end
        except HostTimeoutError as late:
            # What another slice has left in it keeps it from beginning this one.
            was_idle = has_served and not _has_begun(progress)
            blamed = () if was_idle else late.running
            raise HostTimeoutError(str(late), blamed, was_idle=was_idle, at_once=at_once > 1) from late
        finally:
            if not is_over:
                await to_its_end(self._end())

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

    def can_run_at_once(self, function: str) -> bool | None:
        """Whether calls of `module:qualname` can run at once; None if the host that runs now has not imported it."""
        return None if self._running is None else self._running.loaded.get(function)

    async def _load(self, running: _Running, function: str) -> ItemFailed | None:
        """Have the function imported; how that failed."""
        if function in running.loaded:
            return None
        async with _limit(START_SECONDS, "importing its module took"):
            await self._send(running, "load", function=function)
            answer = await running.answers.one()
        if answer.kind != frames.LOADED:
            return _failed(answer, 0.0)
        running.loaded[function] = bool(answer.position)
        return None

    async def _answered(
        self, answers: HostAnswers, progress: SliceProgress
    ) -> AsyncGenerator[list[tuple[int, ItemOutcome]]]:
        listened = progress.began
        while not progress.is_over:
            progress.listening(not_since=listened, now=time.monotonic())
            some = await answers.some(progress.late_at)
            listened = time.monotonic()
            if not some:
                seconds = progress.timeout_seconds if progress.has_begun else begin_seconds(progress.timeout_seconds)
                raise HostTimeoutError(f"it took longer than {seconds:g} s", progress.running)
            outcomes: list[tuple[int, ItemOutcome]] = []
            broken: ConnectionError | None = None
            try:
                for answer in some:
                    outcome = _outcome(answer) if answer.kind in frames.OUTCOMES else None
                    progress.heard(answer, listened)
                    if outcome is not None:
                        outcomes.append((answer.position, outcome))
                if some[-1].kind == frames.OVER:
                    self.peak_bytes = _whole_number(some[-1])
            except ConnectionError as error:  # what came before it counts
                broken = error
            if outcomes:
                yield outcomes
            if broken is not None:
                raise broken

    @staticmethod
    async def _send(running: _Running, ask: str, **request: Any) -> None:
        content = json.dumps({"ask": ask, **request}).encode()
        running.requests.write(frames.HEADER.pack(len(content)) + content)
        await running.requests.drain()

    async def _start(self) -> _Running:
        try:
            with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
                bell, their_bell = socket.socketpair()
                ours.callback(bell.close)
                theirs.callback(their_bell.close)
                pipe, their_pipe = answer_pipe()
                ours.callback(os.close, pipe)
                theirs.callback(os.close, their_pipe)
                rings, requests = await asyncio.open_connection(sock=bell)
                ours.callback(requests.close)
                # The leash holds the host and everything user code starts, also when this process is killed.
                process = await start_on_leash(
                    (sys.executable, "-P", str(_HOST)),
                    stdin=their_bell,
                    stdout=their_pipe,
                    stderr=PIPE,
                    env=users_environment(),
                )
                ours.pop_all()
        except OSError as error:
            if passes(error):
                raise RetryableError(f"no process for an item host: {error}") from error
            raise
        assert process.stderr is not None  # noqa: S101 - for the type checker: it is a pipe
        log = HostLog(process.stderr, process.pid)
        draining = asyncio.create_task(log.drain())
        answers = HostAnswers(pipe, rings)
        self._running = _Running(process, requests, answers, log, draining, process.pid, {})
        if self.killed:  # while there was nothing to kill yet
            self._kill_host()
        try:
            async with asyncio.timeout(START_SECONDS):
                self._running.pid = log.pid = _whole_number(await answers.one())
        except (EOFError, ConnectionError, TimeoutError) as error:
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
        if running.answers.have_ended:  # it is ending by itself: wait for its own status
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
            running.answers.close()
            self._running = None
        return status


def _has_begun(progress: SliceProgress | None) -> bool:
    return progress is not None and progress.has_begun


@asynccontextmanager
async def _limit(seconds: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise HostTimeoutError(f"{what} longer than {seconds:g} s", (0,)) from error


def _outcome(answer: HostAnswer) -> ItemOutcome:
    took = answer.ended - answer.began
    if answer.kind == frames.SUCCEEDED:
        return ItemSucceeded(answer.content, duration_seconds=took)
    return _failed(answer, took)


def _failed(answer: HostAnswer, took: float) -> ItemFailed:
    try:
        failure: dict[str, Any] = json.loads(answer.content)
        return ItemFailed(failure["error_type"], failure["error_message"], duration_seconds=took)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConnectionError("no failure of an item") from error


def _whole_number(answer: HostAnswer) -> int:
    try:
        return int(answer.content)
    except ValueError as error:
        raise ConnectionError("no number") from error
