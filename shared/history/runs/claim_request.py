"""A runner asks for a claim, with back-off, for a bounded time; who gets it holds its lease from then on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum

from redis.exceptions import RedisError

from shared.history.chunk_id import ChunkId
from shared.history.clock import Clock, Instant
from shared.history.runs.claims import Claimed, ClaimRefusal, ClaimStore
from shared.history.runs.lease import Lease
from shared.settings import Settings

NOT_YET_SECONDS = 10.0
"""How long a runner asks at a time; then others have their turn."""

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Unclaimed(Enum):
    """Why a chunk was not claimed in the time given."""

    LEAVE = "leave"
    """It has ended, was replaced, or is another run's."""
    NOT_YET = "not_yet"
    """Redis answers, but the gate is closed or the subject is not known yet."""
    NO_ANSWER = "no_answer"
    """Redis did not answer, or refused."""
    STOPPING = "stopping"
    """This process stops."""


async def claimed_lease(
    claims: ClaimStore,
    partition: int,
    chunk: ChunkId,
    *,
    runner: str,
    run: str,
    settings: Settings,
    clock: Clock,
    is_stopping: Callable[[], bool],
) -> tuple[Claimed, Lease] | Unclaimed:
    """Ask until there is an answer that counts, for `NOT_YET_SECONDS` at the most."""
    give_up_at = clock.monotonic() + NOT_YET_SECONDS
    pause = _FIRST_PAUSE_SECONDS
    while not is_stopping():
        asked_at = Instant.now(clock)
        refusal = Unclaimed.NOT_YET
        try:
            answer = await claims.claim(partition, chunk, runner=runner, run=run)
        except (RedisError, OSError) as error:
            _log.warning("chunk %s could not be claimed: %r", chunk, error)
            refusal = Unclaimed.NO_ANSWER
        else:
            if isinstance(answer, Claimed):
                lease = Lease(
                    claims,
                    partition,
                    chunk,
                    runner=runner,
                    run=run,
                    mark=answer.mark,
                    seconds=settings.lease_seconds,
                    heartbeat_seconds=settings.heartbeat_seconds,
                    clock=clock,
                    taken_at=asked_at,
                )
                return answer, lease
            if answer is ClaimRefusal.LEAVE:
                return Unclaimed.LEAVE
        left = give_up_at - clock.monotonic()
        if left <= 0:
            return refusal
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
    return Unclaimed.STOPPING
