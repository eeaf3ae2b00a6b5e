"""Redis clients as this project uses them: bounded waits, bytes in and out."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from shared.settings import Settings

_SOCKET_SECONDS = 5.0
_RETRIES = 2


def make_redis(settings: Settings) -> Redis:
    """A client whose every call ends within seconds; connects at first use."""
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        decode_responses=False,
        socket_timeout=_SOCKET_SECONDS,
        socket_connect_timeout=_SOCKET_SECONDS,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), _RETRIES),
    )
