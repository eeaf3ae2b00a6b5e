"""Whether router, workers, Ray do their work; `python -m services.router.health router|worker|ray` checks a container.

Exit status 0 if so; else 1, and one line that says what is wrong. A process that has failed for good needs no check: it
ends by itself and says why.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar, cast

from eldermesh.contract.vocabulary import Engine
from services.router.engines.ray.environment import head_address
from services.router.engines.ray.node import raylet_socket
from services.router.groups import ADMISSION_GROUPS, OWNER_GROUP
from shared.health import check_health
from shared.history.readiness import unowned_partitions, unsettled_groups
from shared.kafka.producer_health import producing_trouble, runners_of
from shared.kafka.topics import JOBS_HISTORY
from shared.settings import Settings

_T = TypeVar("_T")

_CONNECT_SECONDS = 2.0
_PING_SECONDS = 2.0
_PING_LIMIT_SECONDS = 8.0
"""For the ping with its connections, which Celery itself does not limit."""


async def router_trouble(settings: Settings) -> str | None:
    """Why jobs would not go on: a partition of the job history without an owner, or an inbox that nobody reads.

    It looks at what the routers do together, not at one of them.
    """
    stuck = await producing_trouble(settings, "router") or await unowned_partitions(settings, JOBS_HISTORY, OWNER_GROUP)
    return stuck or await unsettled_groups(settings, ADMISSION_GROUPS.values())


async def worker_trouble(settings: Settings, hostname: str | None = None) -> str | None:
    """Why no chunk would run: no Celery worker answers a ping. With a `hostname` only the worker there counts."""
    # Here and not above: it takes a second, which a check of the router should not.
    from services.router.engines.celery.ping import ping_workers  # noqa: PLC0415

    destination = None if hostname is None else [f"celery@{hostname}"]

    def ping() -> list[str]:
        return ping_workers(settings, timeout_seconds=_PING_SECONDS, destination=destination, limit=1)

    try:
        async with asyncio.timeout(_PING_LIMIT_SECONDS):
            answers = await _in_own_thread(ping)
    except TimeoutError:
        return f"the ping of Celery did not end within {_PING_LIMIT_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 - kombu wraps whatever its transport raises in classes of several libraries
        return f"Redis does not answer: {error!r}"
    return None if answers else "no Celery worker answers a ping"


async def ray_trouble(settings: Settings) -> str | None:
    """Why no chunk would run on Ray: the head does not listen, or the node of this machine is not there."""
    if settings.ray_address is None:
        return "MESH_RAY_ADDRESS is not set"
    try:
        host, port = head_address(settings)
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            await writer.wait_closed()
    except OSError as error:  # TimeoutError is one
        return f"the head does not answer: {error!r}"
    return "the Ray node of this machine has not started" if raylet_socket(settings) is None else None


async def _in_own_thread(work: Callable[[], _T]) -> _T:
    """Await the work of a thread that nobody waits for when it hangs, not even the interpreter at its end."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[_T] = loop.create_future()

    def tell(result: _T | None, error: Exception | None) -> None:
        if outcome.done():  # given up
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(cast("_T", result))

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - raised again where the work is awaited
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=run, name="health", daemon=True).start()
    return await outcome


async def results_trouble(settings: Settings, engine: Engine, hostname: str) -> str | None:
    """Why runs on this host would not end: Kafka does not take their results, which are tried again for minutes.

    The router cannot tell: while results do not come it has nothing to send.
    """
    return await producing_trouble(settings, runners_of(engine, hostname))


async def _trouble(part: str, settings: Settings) -> str | None:
    hostname = socket.gethostname()
    if part == "router":
        return await router_trouble(settings)
    if part == "ray":
        return await results_trouble(settings, "ray", hostname) or await ray_trouble(settings)
    return await results_trouble(settings, "celery", hostname) or await worker_trouble(settings, hostname)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the part that is named; worker and Ray node are those of this host."""
    parser = argparse.ArgumentParser(prog="health", description="Is it at work?")
    parser.add_argument("part", choices=("router", "worker", "ray"))
    return check_health(partial(_trouble, parser.parse_args(arguments).part))


if __name__ == "__main__":
    sys.exit(main())
