"""Redis clients as this project uses them: bounded waits, bytes in and out."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.settings import Settings

_SOCKET_SECONDS = 5.0
_RETRIES = 2


class _HeedsCancellation:
    """A connection that loses no cancellation, and makes no task for each command.

    Redis' client bounds a write by `asyncio.wait_for`, which in Python 3.11 makes a task of it, and gives the result of
    what has ended in the same turn of the loop in which the waiting task is cancelled, and forgets that it was: a task
    that is told to stop would go on, and who waits for its end would wait for ever
    (https://github.com/python/cpython/issues/86296).
    """

    async def send_packed_command(self: Any, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - the client's own signature
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()
        seconds, self.socket_timeout = self.socket_timeout, None  # so that the client does not bound it itself
        try:
            async with asyncio.timeout(seconds):
                await super().send_packed_command(command, check_health=False)  # type: ignore[misc]  # of the class it is mixed into
        except TimeoutError:
            raise RedisTimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = seconds


def heeding_cancellation(client: Redis) -> Redis:
    """The same client, whose calls end when their task is cancelled."""
    pool = client.connection_pool
    pool.connection_class = type("Connection", (_HeedsCancellation, pool.connection_class), {})
    return client


def redis_tls(settings: Settings) -> dict[str, Any]:
    """Options for TLS, by the names that Redis' client and Celery's broker have for them; none without TLS."""
    if not settings.redis_url.get_secret_value().startswith("rediss://"):
        return {}
    options: dict[str, Any] = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
    if settings.redis_ca is not None:
        options["ssl_ca_certs"] = str(settings.redis_ca)
    if settings.redis_certificate is not None and settings.redis_key is not None:
        options |= {"ssl_certfile": str(settings.redis_certificate), "ssl_keyfile": str(settings.redis_key)}
    return options


def redis_trouble(error: BaseException) -> str:
    """What is wrong with Redis, for people, as far as it can be told from an error of its client."""
    causes = [error, error.__cause__, error.__context__]
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in causes):
        return f"the certificate of Redis is not signed by the CA in MESH_REDIS_CA, or not for its host: {error}"
    if isinstance(error, AuthenticationError):
        return f"Redis refuses the user of MESH_REDIS_URL: {error}"
    if isinstance(error, NoPermissionError):
        return f"an ACL rule of Redis keeps the user of MESH_REDIS_URL from what the mesh needs: {error}"
    return f"Redis does not answer: {error}"


def make_redis(
    settings: Settings,
    kind: type[Redis] = Redis,
    retried: tuple[type[RedisError], ...] = (RedisConnectionError, RedisTimeoutError),
) -> Redis:
    """A client whose every call ends within seconds; connects at first use. After those `retried` it tries again."""
    return heeding_cancellation(
        kind.from_url(
            settings.redis_url.get_secret_value(),
            **redis_tls(settings),
            decode_responses=False,
            socket_timeout=_SOCKET_SECONDS,
            socket_connect_timeout=_SOCKET_SECONDS,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), _RETRIES, supported_errors=retried),
        )
    )
