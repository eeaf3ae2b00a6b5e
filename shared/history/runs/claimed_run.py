"""One run of what was claimed: the work beside the lease's heartbeat; whatever ends first ends the rest.

Its parts are stopped while the claim is still held, so that nobody begins the same beside them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from shared.errors import MeshError, RetryableError, StillRunningError
from shared.history.runs.lease import SUSPENDED, Lease, LeaseLostError
from shared.logs.exceptions import told

INTERRUPTED = "interrupted"
"""Why a run ended that said so in the history: its subject is run again, and no death is counted."""
STUCK = "stuck"
"""Why a run ended whose parts did not stop: they may still be running, so no interruption is published."""

INTERRUPTED_SECONDS = 5.0
"""How long a run that was stopped tries to say that nobody died."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_log = logging.getLogger(__name__)


class RunStoppedError(MeshError):
    """The work has stopped itself in order, and the claim stays as it is; `reason` says why in one word."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the run has stopped: {reason}")
        self.reason = reason


class ResultUntoldError(RetryableError):
    """The work has had its effect, and its result could not be appended: nobody may give it back as if it had not."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """A run that has no result; `reason` says why in one word."""

    reason: str


class RunWork(Protocol[T_co]):
    """What is done under a claim."""

    async def work(self) -> T_co:
        """Run it. On return the history has its result.

        Raises:
            RunStoppedError: it stops itself; the claim is not marked done.
            LeaseLostError: it must not begin, or go on: the claim is lost.
            StillRunningError: something of it cannot be stopped; the claim dies by its lease.
            ResultUntoldError: its effect has happened, and the history does not say so; the claim dies by its lease.
            RetryableError: a dependency was away for too long; the subject is given back.
        """

    async def flush(self) -> None:
        """What goes on beside the work, such as publishing what it makes; ends only by failing.

        Raises:
            RetryableError: as above.
        """

    def kill(self) -> None:
        """The work is over, or is to end: called before its tasks are cancelled, also when it has ended."""

    async def interrupted(self) -> None:
        """Append to the history that nothing of the run goes on and nobody died; the work bounds how long it tries.

        Raises:
            RetryableError, TimeoutError: that could not be said.
        """


class ClaimedRun(Generic[T]):
    """From the claim to the claim's end.

    Args:
        work: what is done.
        lease: of the claim.
        stopping: set when this process stops.
        whose: for logs: `chunk 4f97…`.
        stop_seconds: how long parts get to stop; None: they bound their own ends.
    """

    def __init__(
        self,
        work: RunWork[T],
        lease: Lease,
        stopping: asyncio.Event,
        *,
        whose: str,
        stop_seconds: float | None = None,
    ) -> None:
        self._work = work
        self._lease = lease
        self._stopping = stopping
        self._whose = whose
        self._stop_seconds = stop_seconds

    async def run(self) -> T | Stopped:
        """Do the work and mark the claim done. Returns the work's result, or why there is none.

        A run that stops in order leaves its claim: the advance past its fact removes it.

        Raises:
            StillRunningError: something that was killed still runs. The claim dies by its lease.
            ResultUntoldError: see `RunWork.work`.
            RetryableError: a dependency was away for long, and the interruption could not be said either.
        """
        working = asyncio.create_task(self._work.work())
        flushing = asyncio.create_task(self._work.flush())
        stopping = asyncio.create_task(self._stopping.wait())
        keeping = asyncio.create_task(self._lease.keep())
        parts: set[asyncio.Task[Any]] = {working, flushing, stopping}
        reason: str | None = INTERRUPTED
        failure: RetryableError | None = None
        try:
            await asyncio.wait({*parts, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
                reason = None
            elif keeping.done():
                reason = keeping.result().reason
            elif flushing.done():
                flushing.result()
        except (RunStoppedError, LeaseLostError) as stopped:
            reason = stopped.reason
        except (StillRunningError, ResultUntoldError):
            raise
        except RetryableError as error:
            failure = error
        finally:
            self._work.kill()
            all_ended = await end_run(parts, keeping, seconds=self._stop_seconds)
            if not all_ended:
                _log.error("%s: the run does not stop", self._whose)
        if reason is None:
            await self.finish()
            return working.result()
        if reason not in (INTERRUPTED, SUSPENDED):
            return Stopped(reason)
        return await self._given_back(reason, failure) if all_ended else Stopped(STUCK)

    async def finish(self) -> None:
        """Mark the claim done while the lease lives; without that nothing is lost, for the result is in the history."""
        try:
            await self._lease.finish()
        except LeaseLostError as lost:
            _log.warning("%s: %s", self._whose, lost)

    async def _given_back(self, reason: str, failure: RetryableError | None) -> Stopped:
        """Say in the history that nothing of the run goes on, and return why it ended.

        Raises:
            RetryableError: `failure`, if that could not be said.
        """
        # What another run has begun meanwhile must not be given back.
        if reason == SUSPENDED and not await self._lease.is_still_held(INTERRUPTED_SECONDS):
            return Stopped(reason)
        is_told = await self._interrupted()
        if failure is not None:
            if not is_told:
                raise failure
            _log.warning("%s is given back: %s", self._whose, failure)
        return Stopped(INTERRUPTED)

    async def _interrupted(self) -> bool:
        """Whether the history says that nobody died. Without that the claim dies by its lease."""
        try:
            await self._work.interrupted()
        except (RetryableError, TimeoutError) as error:
            _log.warning("%s: its interruption counts as a death: %r", self._whose, error)
            return False
        return True


async def end_run(
    parts: Collection[asyncio.Task[Any]], keeping: asyncio.Task[LeaseLostError], *, seconds: float | None = None
) -> bool:
    """Cancel the parts of a run and wait for their ends, while the lease is renewed; return whether all have ended.

    Args:
        parts: all but the heartbeat; they may have ended already.
        keeping: `Lease.keep`; it ends last. If it has ended, the claim is lost, and nothing can be done about it.
        seconds: how long to wait; None: the parts bound their own ends.
    """
    for part in parts:
        part.cancel()
    try:
        done, stuck = await asyncio.wait(parts, timeout=seconds)
    finally:
        keeping.cancel()
    await asyncio.wait({keeping})
    for part in (*done, keeping):
        if not part.cancelled() and (error := part.exception()) is not None:
            _log.debug("a part of a run ended with %s", told(error))
    return not stuck
