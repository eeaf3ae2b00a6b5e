"""A sage on its own thread with its own event loop, so that one that blocks or raises affects no other."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pydantic import JsonValue

from services.sages.loop_calls import LoopCalls
from services.sages.sage import MakeSage, Question, Sage
from shared.errors import MeshError
from shared.logs.exceptions import ends_the_task
from shared.logs.setup import get_logger
from shared.settings import Settings

MAX_UNANSWERED: Final = 64
"""Unanswered questions of one sage; with so many it gets no more until it has answered some."""

CLOSE_SECONDS: Final = 5.0
"""Time for a sage to close; a thread that is still blocked then ends with the process."""

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0

_log = get_logger(__name__)


class SageFailedError(MeshError):
    """The sage raised a `BaseException` that is not an `Exception`; the message names its class."""


class NotAskedError(MeshError):
    """The sage cannot be asked: it has not started, or has too many unanswered questions."""


@dataclass(slots=True)
class _Asked:
    """A question on its way; `answer` belongs to the loop of whoever asks, `task` to the sage's."""

    question: Question
    answer: asyncio.Future[dict[str, JsonValue]]
    task: asyncio.Task[dict[str, JsonValue]] | None = None


class SageThread:
    """Creates and starts a sage on its thread, and passes questions on. Retries the start with back-off.

    Args:
        name: of the sage.
        make: its constructor.
        settings: passed to its `start`.
    """

    def __init__(self, name: str, make: MakeSage, settings: Settings) -> None:
        self.name = name
        self.has_failed = False
        """Whether the last attempt to start it failed."""
        self._make = make
        self._settings = settings
        self._room = threading.BoundedSemaphore(MAX_UNANSWERED)
        self._sage: Sage | None = None
        self._calls: LoopCalls | None = None
        self._answers: LoopCalls | None = None
        self._stop: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = Future[None]()
        self._thread = threading.Thread(target=self._run, name=f"sage-{name}", daemon=True)

    @property
    def is_warming(self) -> bool:
        """Whether it has not started yet, or its memory has not caught up. Raises what the sage raises."""
        sage = self._sage
        return sage.is_warming if sage is not None else not self.has_failed

    def start(self) -> None:
        """Start the thread; the sage starts there. It is asked from the running loop."""
        self._answers = LoopCalls(asyncio.get_running_loop())
        self._thread.start()

    async def ask(self, question: Question) -> dict[str, JsonValue]:
        """Its advice. Cancelling this cancels the sage's work, as soon as the sage's loop runs.

        Raises:
            NotAskedError: it could not be asked.
            Exception: whatever the sage raises.
        """
        sage, calls = self._sage, self._calls
        if sage is None or calls is None:
            raise NotAskedError(f"{self.name} has not started")
        if not self._room.acquire(blocking=False):
            raise NotAskedError(f"{self.name} sits on {MAX_UNANSWERED} questions")
        asked = _Asked(question, asyncio.get_running_loop().create_future())
        try:
            calls.soon(partial(self._begin, sage, asked))
        except RuntimeError as error:  # its loop is closed
            self._room.release()
            raise NotAskedError(f"{self.name} has stopped") from error
        try:
            return await asked.answer
        except asyncio.CancelledError:
            with suppress(RuntimeError):  # its loop is closed, and the task with it
                calls.soon(partial(_cancel, asked))
            raise

    async def close(self) -> None:
        """Close the sage and end its thread, within `CLOSE_SECONDS`."""
        if self._thread.ident is None:
            return
        calls, stop = self._calls, self._stop
        if calls is not None and stop is not None:
            with suppress(RuntimeError):  # its loop is closed already
                calls.soon(stop.set)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.shield(asyncio.wrap_future(self._ended))
        except TimeoutError:
            _log.warning("sage did not close in time; its thread is left behind", sage=self.name)

    def _begin(self, sage: Sage, asked: _Asked) -> None:
        """Runs on the sage's loop, in the caller's context."""
        asked.task = asyncio.get_running_loop().create_task(_advise(sage, asked.question))
        self._tasks.add(asked.task)
        asked.task.add_done_callback(partial(self._finish, asked.answer))

    def _finish(self, answer: asyncio.Future[dict[str, JsonValue]], task: asyncio.Task[dict[str, JsonValue]]) -> None:
        self._room.release()
        self._tasks.discard(task)
        error = NotAskedError(f"{self.name} was stopped") if task.cancelled() else task.exception()
        if self._answers is not None:
            with suppress(RuntimeError):  # the loop of whoever asked is closed
                self._answers.soon(partial(_settle, answer, task, error))

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - the end of the thread: nobody above catches it
            self.has_failed = True
            _log.error("sage ended", sage=self.name, error=type(error).__name__)
        finally:
            self._sage = None
            self._ended.set_result(None)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._calls = LoopCalls(asyncio.get_running_loop())
        stopping = asyncio.create_task(self._stop.wait())
        pause = _FIRST_PAUSE_SECONDS
        sage = await self._started()
        while sage is None and not stopping.done():
            await asyncio.wait({stopping}, timeout=pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            sage = None if stopping.done() else await self._started()
        if sage is None:
            return
        self._sage = sage
        await stopping
        self._sage = None
        await sage.close()

    async def _started(self) -> Sage | None:
        try:
            sage = self._make()
            await sage.start(self._settings)
        except BaseException as error:
            if ends_the_task(error):
                raise
            # A sage may be a plug-in that raises anything.
            _log.error("sage does not start; tried again later", sage=self.name, error=repr(error))
            self.has_failed = True
            return None
        self.has_failed = False
        return sage


def _cancel(asked: _Asked) -> None:
    """Runs on the sage's loop, after the question has begun there."""
    if asked.task is not None:
        asked.task.cancel()


def _settle(
    answer: asyncio.Future[dict[str, JsonValue]],
    task: asyncio.Task[dict[str, JsonValue]],
    error: BaseException | None,
) -> None:
    """Runs on the loop of whoever asked."""
    if answer.done():
        return  # nobody waits for it
    if error is None:
        answer.set_result(task.result())
    else:
        answer.set_exception(error)


async def _advise(sage: Sage, question: Question) -> dict[str, JsonValue]:
    try:
        return await sage.advise(question)
    except BaseException as error:
        if ends_the_task(error) or isinstance(error, Exception):
            raise
        # `sys.exit` or a panic would end the sage's loop.
        raise SageFailedError(f"it raised {type(error).__name__}") from error
