"""One run's lease on its chunk: renewed by heartbeat, and before an item that runs by itself; who loses it stops."""

from __future__ import annotations

import asyncio
import logging

from redis.exceptions import RedisError

from shared.errors import MeshError
from shared.history.chunk_id import ChunkId
from shared.history.clock import Clock, Instant
from shared.history.runs.claims import ClaimStore, Renewal

SUSPENDED = "suspended"
"""Why a lease is lost that would still live if the machine had not been suspended."""

_RETRY_SECONDS = 0.1

_log = logging.getLogger(__name__)


class LeaseLostError(MeshError):
    """The run must be killed; `reason` says why in one word."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the claim no longer holds: {reason}")
        self.reason = reason


class Lease:
    """A claim that was just taken.

    Args:
        claims: where it was taken.
        partition, chunk, runner, run, mark: what it was taken for.
        seconds: how long it lives without renewal.
        heartbeat_seconds: time between renewals.
        clock: judges when it has lapsed.
        taken_at: from *before* it was taken, so that Redis never ends it before this side does.
    """

    def __init__(
        self,
        claims: ClaimStore,
        partition: int,
        chunk: ChunkId,
        *,
        runner: str,
        run: str,
        mark: str,
        seconds: float,
        heartbeat_seconds: float,
        clock: Clock,
        taken_at: Instant,
    ) -> None:
        self._claims = claims
        self._partition = partition
        self._chunk = chunk
        self._runner = runner
        self._run = run
        self._mark = mark
        self._seconds = seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._renewed_at = taken_at

    def check(self) -> None:
        """Return only if the lease still lives, without asking Redis: before each effect that must not happen twice.

        Raises:
            LeaseLostError: it has lapsed.
        """
        self._seconds_left()

    def ends_at(self, *, at_most_seconds: float) -> float:
        """When the lease ends, or `at_most_seconds` from now if that is sooner, by the clock's monotonic time.

        Counted from before the lease is looked at, so never later than that.

        Raises:
            LeaseLostError: it has lapsed.
        """
        now = self._clock.monotonic()
        return now + min(at_most_seconds, self._seconds_left())

    async def renew(self) -> None:
        """Renew; while Redis does not answer, ask again until the lease has lapsed.

        Raises:
            LeaseLostError: the run must be killed.
        """
        while True:
            left = self._seconds_left()
            asked_at = Instant.now(self._clock)
            try:
                async with asyncio.timeout(left):
                    renewal = await self._ask()
            except (RedisError, OSError) as error:  # TimeoutError is an OSError
                _log.warning("chunk %s: the claim could not be renewed: %r", self._chunk, error)
                await asyncio.sleep(min(_RETRY_SECONDS, self._seconds_left()))
                continue
            if renewal is not Renewal.HELD:
                raise LeaseLostError(renewal.value)
            self._renewed_at = max(self._renewed_at, asked_at, key=lambda instant: instant.monotonic)
            return

    async def keep(self) -> LeaseLostError:
        """Renew at each heartbeat; return when the run must be killed."""
        try:
            while True:
                await asyncio.sleep(min(self._heartbeat_seconds, self._seconds_left()))
                await self.renew()
        except LeaseLostError as lost:
            return lost

    async def is_still_held(self, seconds: float) -> bool:
        """Whether the claim is still this run's, though the machine was suspended for longer than it lives.

        To be asked once nothing of the run goes on, before it says so: then nobody else has the chunk, and nobody gets
        it for another lease. Redis is asked for so many seconds at the most.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        return await self._ask() is Renewal.HELD
                    except (RedisError, OSError) as error:
                        _log.warning("chunk %s: its claim is not known: %r", self._chunk, error)
                    await asyncio.sleep(_RETRY_SECONDS)
        except TimeoutError:
            return False

    async def _ask(self) -> Renewal:
        return await self._claims.renew(
            self._partition, self._chunk, runner=self._runner, run=self._run, mark=self._mark
        )

    async def finish(self) -> None:
        """Mark the claim done, once Kafka has acknowledged all results; for as long as the lease lives.

        Raises:
            LeaseLostError: that could not be done in time.
        """
        while True:
            left = self._seconds_left()
            try:
                async with asyncio.timeout(left):
                    await self._claims.finish(self._partition, self._chunk, runner=self._runner, run=self._run)
                return
            except (RedisError, OSError) as error:
                _log.warning("chunk %s: the claim could not be marked done: %r", self._chunk, error)
                await asyncio.sleep(min(_RETRY_SECONDS, self._seconds_left()))

    def _seconds_left(self) -> float:
        """Time until it lapses, by this process' own monotonic clock.

        Raises:
            LeaseLostError: it has: stop without asking.
        """
        left = self._renewed_at.monotonic + self._seconds - self._clock.monotonic()
        if left <= 0:
            asleep = self._clock.suspended_seconds() - self._renewed_at.suspended_seconds
            raise LeaseLostError(SUSPENDED if left + asleep > 0 else "lapsed")
        return left
