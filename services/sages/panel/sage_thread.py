"""A sage on its own thread with its own event loop, so that one that blocks or raises affects no other."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final

from pydantic import JsonValue

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
        self._loop: asyncio.AbstractEventLoop | None = None
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
        """Start the thread; the sage starts there."""
        self._thread.start()

    async def ask(self, question: Question) -> dict[str, JsonValue]:
        """Its advice. Cancelling this cancels the sage's work, as soon as the sage's loop runs.

        Raises:
            NotAskedError: it could not be asked.
            Exception: whatever the sage raises.
        """
        sage, loop = self._sage, self._loop
        if sage is None or loop is None:
            raise NotAskedError(f"{self.name} has not started")
        if not self._room.acquire(blocking=False):
            raise NotAskedError(f"{self.name} sits on {MAX_UNANSWERED} questions")
        answer = Future[dict[str, JsonValue]]()
        try:
            loop.call_soon_threadsafe(self._begin, sage, question, answer)
        except RuntimeError as error:  # its loop is closed
            self._room.release()
            raise NotAskedError(f"{self.name} has stopped") from error
        return await asyncio.wrap_future(answer)

    async def close(self) -> None:
        """Close the sage and end its thread, within `CLOSE_SECONDS`."""
        if self._thread.ident is None:
            return
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with suppress(RuntimeError):  # its loop is closed already
                loop.call_soon_threadsafe(stop.set)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.shield(asyncio.wrap_future(self._ended))
        except TimeoutError:
            _log.warning("sage did not close in time; its thread is left behind", sage=self.name)

    def _begin(self, sage: Sage, question: Question, answer: Future[dict[str, JsonValue]]) -> None:
        """Runs on the sage's loop, in the caller's context."""
        task = asyncio.get_running_loop().create_task(_advise(sage, question))
        self._tasks.add(task)
        task.add_done_callback(partial(self._finish, answer))
        answer.add_done_callback(partial(self._cancel, task))

    def _cancel(self, task: asyncio.Task[Any], answer: Future[Any]) -> None:
        if answer.cancelled() and self._loop is not None:
            with suppress(RuntimeError):  # its loop is closed, and the task with it
                self._loop.call_soon_threadsafe(task.cancel)

    def _finish(self, answer: Future[dict[str, JsonValue]], task: asyncio.Task[dict[str, JsonValue]]) -> None:
        self._room.release()
        self._tasks.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if not answer.set_running_or_notify_cancel():
            return  # nobody waits for the answer
        if error is None:
            answer.set_result(task.result())
        else:
            answer.set_exception(NotAskedError(f"{self.name} was stopped") if task.cancelled() else error)

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
        self._loop = asyncio.get_running_loop()
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


async def _advise(sage: Sage, question: Question) -> dict[str, JsonValue]:
    try:
        return await sage.advise(question)
    except BaseException as error:
        if ends_the_task(error) or isinstance(error, Exception):
            raise
        # `sys.exit` or a panic would end the sage's loop.
        raise SageFailedError(f"it raised {type(error).__name__}") from error
