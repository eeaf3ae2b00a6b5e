"""State in Redis belongs to one incarnation of the log; that of another one is thrown away before anybody reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.backoff.patience import with_patience
from shared.errors import RetryableError
from shared.history.clock import SystemClock
from shared.kafka.topics import CLAUDE_HISTORY, JOBS_HISTORY, NOTIFICATIONS
from shared.logs.setup import get_logger
from shared.redis_client import redis_trouble
from shared.settings import Settings

_log = get_logger(__name__)

_SCAN_COUNT = 1000
_PATIENCE_SECONDS = 20.0
"""Shorter than the time that a service has to stop. Then the service fails, and its supervisor starts it again."""

_BINDINGS = "_kombu.binding"


def celery_key_prefix(settings: Settings) -> str:
    """What stands before every key that Celery writes."""
    return f"{settings.topic_prefix}celery:"


async def drop_foreign_state(redis: Redis, settings: Settings, incarnation: str) -> bool:
    """Delete all states and Celery's tasks if they were made from another incarnation; returns whether they were.

    Two processes may do this at once: all keys of a partition go in one call, and an owner that finds them gone loads
    again. Celery's bindings stay, because a connection writes them only once, and a running worker needs them (to
    answer pings, for one). They hold no tasks.

    Raises:
        RetryableError: Redis did not answer, or refused, for a while.
    """

    async def drop() -> bool:
        try:
            return await _drop(redis, settings, incarnation)
        except (RedisError, OSError) as error:
            raise RetryableError(redis_trouble(error)) from error

    return await with_patience(drop, seconds=_PATIENCE_SECONDS, clock=SystemClock())


async def _drop(redis: Redis, settings: Settings, incarnation: str) -> bool:
    key = f"{{h:{settings.topic_prefix}}}:incarnation"
    if await redis.get(key) == incarnation.encode():
        return False
    together: dict[bytes, list[bytes]] = {}
    async for name in _own_keys(redis, settings):
        together.setdefault(name.partition(b"}:")[0], []).append(name)
    deleted = 0
    for names in together.values():
        deleted += await redis.unlink(*names)
    await redis.set(key, incarnation)
    if deleted:
        _log.warning("dropped the state of another incarnation of the log", keys=deleted, incarnation=incarnation)
    return True


async def _own_keys(redis: Redis, settings: Settings) -> AsyncIterator[bytes]:
    patterns = [f"{{h:{settings.topic(topic)}:*" for topic in (JOBS_HISTORY, CLAUDE_HISTORY, NOTIFICATIONS)]
    celery = celery_key_prefix(settings)
    bindings = f"{celery}{_BINDINGS}".encode()
    for pattern in (*patterns, f"{celery}*"):
        async for name in redis.scan_iter(match=_escaped(pattern), count=_SCAN_COUNT):
            if not name.startswith(bindings):
                yield name


def _escaped(pattern: str) -> str:
    return pattern.replace("[", r"\[").replace("?", r"\?")
