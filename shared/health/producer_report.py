"""How a health check, which is a process of its own, learns that a service's records are not acknowledged."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.kafka.service_producer import Producer
from shared.logs.setup import get_logger
from shared.redis_client import make_redis
from shared.settings import Settings

TELL_SECONDS: Final = 5.0
"""Time between two looks at the producer."""

_TOLD_SECONDS: Final = 30
"""How long a note lasts that nobody renews: its process may have been killed."""

_log = get_logger(__name__)


class ProducingReport:
    """A part of a service: while its producer is in trouble, a note in Redis says so.

    Args:
        redis: stays the caller's.
        settings: the prefix of names.
        service: whose producer it is, as `producing_trouble` is asked for it.
        producer: is watched.
    """

    def __init__(self, redis: Redis, settings: Settings, service: str, producer: Producer) -> None:
        self._redis = redis
        self._key = _key(settings, service)
        self._producer = producer
        self._telling: asyncio.Task[None] | None = None
        self._has_told = False

    async def start(self) -> None:
        """Watch, until `stop`."""
        self._telling = asyncio.create_task(self._keep_telling(), name="report of producing")

    async def stop(self) -> None:
        """Watch no more."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait({self._telling})

    async def wait_failed(self) -> BaseException:
        """Wait, without a limit, until it has ended by itself, and return why."""
        if self._telling is None:
            raise RuntimeError("it was not started")
        await asyncio.wait({self._telling})
        return self._telling.exception() or RuntimeError("the report of producing has ended")

    @property
    def trouble(self) -> str | None:
        """Why records are not acknowledged, or nobody looks whether they are."""
        if self._telling is None or self._telling.done():
            return "the report of producing has ended"
        return self._producer.trouble

    async def _keep_telling(self) -> None:
        while True:
            try:
                await self._tell()
            except (RedisError, OSError) as error:
                _log.warning("whether records are acknowledged cannot be told", error=repr(error))
            await asyncio.sleep(TELL_SECONDS)

    async def _tell(self) -> None:
        trouble = self._producer.trouble
        if trouble is not None:
            _log.error("records are not acknowledged", reason=trouble)
            self._has_told = True
            await self._redis.set(self._key, trouble, ex=_TOLD_SECONDS)
        elif self._has_told:
            await self._redis.delete(self._key)
            self._has_told = False


async def producing_trouble(settings: Settings, service: str) -> str | None:
    """Why nothing of a service would go on: Kafka acknowledges no record of one of its processes; None if it does.

    None, too, while Redis does not answer: a service that needs Redis is not ready then anyway, and the others are.
    """
    async with aclosing(make_redis(settings)) as redis:
        try:
            told = await redis.get(_key(settings, service))
        except (RedisError, OSError) as error:
            _log.warning("whether records are acknowledged cannot be read", error=repr(error))
            return None
    return told.decode() if isinstance(told, bytes) else told


def runners_of(engine: str, hostname: str) -> str:
    """The service, as notes name it, that the runners of an engine on one host are."""
    return f"{engine}@{hostname}"


def _key(settings: Settings, service: str) -> str:
    return f"producing:{settings.topic(service)}"
