"""Redis clients as this project uses them: bounded waits, bytes in and out."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from shared.settings import Settings

_SOCKET_SECONDS = 5.0
_RETRIES = 2


class _HeedsCancellation:
    """A connection that loses no cancellation.

    Redis' client bounds a write by `asyncio.wait_for`, which in Python 3.11 gives the result of what has ended in the
    same turn of the loop in which the waiting task is cancelled, and forgets that it was: a task that is told to stop
    would go on, and who waits for its end would wait for ever (https://github.com/python/cpython/issues/86296).
    """

    async def send_packed_command(self: Any, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - the client's own signature
        task = asyncio.current_task()
        asked = 0 if task is None else task.cancelling()
        await super().send_packed_command(command, check_health)  # type: ignore[misc]  # of the class it is mixed into
        if task is not None and task.cancelling() > asked:
            await self.disconnect(nowait=True)  # the answer is still to come, and nobody reads it
            raise asyncio.CancelledError


def heeding_cancellation(client: Redis) -> Redis:
    """The same client, whose calls end when their task is cancelled."""
    pool = client.connection_pool
    pool.connection_class = type("Connection", (_HeedsCancellation, pool.connection_class), {})
    return client


def make_redis(settings: Settings) -> Redis:
    """A client whose every call ends within seconds; connects at first use."""
    return heeding_cancellation(
        Redis.from_url(
            settings.redis_url.get_secret_value(),
            decode_responses=False,
            socket_timeout=_SOCKET_SECONDS,
            socket_connect_timeout=_SOCKET_SECONDS,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), _RETRIES),
        )
    )
