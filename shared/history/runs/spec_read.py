"""How a run with a claim reads its specification: it asks again while Redis is away and its lease holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError

from shared.errors import RetryableError
from shared.history.clock import Clock
from shared.history.runs.lease import Lease

MISSING_SECONDS = 10.0
"""How long Redis may answer that it has none."""

_PAUSE_SECONDS = 0.2

T = TypeVar("T")

_log = logging.getLogger(__name__)


async def read_spec(
    read: Callable[[], Awaitable[T | None]], lease: Lease, clock: Clock, *, whose: str, stopping: asyncio.Event
) -> T:
    """What `read` gives; while Redis does not answer it is asked again, until the lease has lapsed.

    Args:
        read: asks Redis; None: it does not have it.
        lease: of the run; renewed between two questions.
        clock: measures.
        whose: for logs and messages: `request 4f97…`.
        stopping: set when this process stops.

    Raises:
        LeaseLostError: what was claimed has ended, or the lease has lapsed: nobody can renew it while Redis is away.
        RetryableError: Redis answers, and does not have it; or this process stops.
    """
    missing_since: float | None = None
    while True:
        try:
            spec = await read()
        except (RedisError, OSError) as error:
            _log.warning("%s: its specification could not be read: %r", whose, error)
            missing_since = None
        else:
            if spec is not None:
                return spec
            now = clock.monotonic()
            missing_since = now if missing_since is None else missing_since
            if now - missing_since > MISSING_SECONDS:
                raise RetryableError(f"{whose}: Redis does not have its specification")
        if stopping.is_set():
            raise RetryableError(f"{whose}: this process stops before its specification could be read")
        await lease.renew()  # if it has ended, this says so
        await asyncio.sleep(_PAUSE_SECONDS)
