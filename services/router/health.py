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
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

from services.router.engines.ray.node import raylet_socket
from shared.health.container_check import Trouble, check_health
from shared.health.parts import CELERY_RUNNERS, RAY_RUNNERS, ROUTER
from shared.ray_head import head_address, reach_head
from shared.settings import Settings

_T = TypeVar("_T")

_CONNECT_SECONDS = 2.0
_PING_SECONDS = 2.0
_PING_LIMIT_SECONDS = 8.0
"""For the ping with its connections, which Celery itself does not limit."""


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
        await reach_head(*head_address(settings), seconds=_CONNECT_SECONDS)
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


async def _this_worker_trouble(settings: Settings) -> str | None:
    return await worker_trouble(settings, socket.gethostname())


_CHECKS: Mapping[str, Sequence[Trouble]] = {
    "router": (ROUTER.trouble,),
    "worker": (CELERY_RUNNERS.trouble, _this_worker_trouble),
    "ray": (RAY_RUNNERS.trouble, ray_trouble),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the part that is named; worker and Ray node are those of this host."""
    parser = argparse.ArgumentParser(prog="health", description="Is it at work?")
    parser.add_argument("part", choices=tuple(_CHECKS))
    return check_health(*_CHECKS[parser.parse_args(arguments).part])


if __name__ == "__main__":
    sys.exit(main())
