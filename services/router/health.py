"""Health checks of router, workers and Ray: `python -m services.router.health router|worker|ray`, in a container.

Exit status 0 if healthy; else 1, and one line that says what is wrong. A process that cannot go on needs no check: it
ends by itself and says why.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from services.router.engines.ray.node import raylet_socket
from shared.health.container_check import Trouble, check_health
from shared.health.parts import CELERY_RUNNERS, RAY_RUNNERS, ROUTER
from shared.ray_head import head_address, reach_head
from shared.settings import Settings

_CONNECT_SECONDS = 2.0
_PING_SECONDS = 2.0
_PING_LIMIT_SECONDS = 8.0
"""For the ping and its connections; Celery itself sets no limit."""


async def worker_trouble(settings: Settings, hostname: str | None = None) -> str | None:
    """Why no chunk would run: no Celery worker answers a ping. With a `hostname` only the worker there counts."""
    # Imported here because it takes a second, which a check of the router need not spend.
    from services.router.engines.celery.ping import ping_workers  # noqa: PLC0415

    destination = None if hostname is None else [f"celery@{hostname}"]

    outcome: Future[list[str]] = Future()
    outcome.set_running_or_notify_cancel()  # so that nobody can cancel it

    def ping() -> None:
        try:
            outcome.set_result(ping_workers(settings, timeout_seconds=_PING_SECONDS, destination=destination, limit=1))
        except Exception as error:  # noqa: BLE001 - raised again below
            outcome.set_exception(error)

    # A daemon: nothing waits for it when it hangs, not even the interpreter at its end.
    threading.Thread(target=ping, name="health", daemon=True).start()
    try:
        async with asyncio.timeout(_PING_LIMIT_SECONDS):
            answers = await asyncio.wrap_future(outcome)
    except TimeoutError:
        return f"the ping of Celery did not end within {_PING_LIMIT_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 - kombu wraps whatever its transport raises in classes of several libraries
        return f"Redis does not answer: {error!r}"
    return None if answers else "no Celery worker answers a ping"


async def ray_trouble(settings: Settings) -> str | None:
    """Why no chunk would run on Ray: the head does not listen, or the node of this machine has not started."""
    if settings.ray_address is None:
        return "MESH_RAY_ADDRESS is not set"
    try:
        await reach_head(*head_address(settings), seconds=_CONNECT_SECONDS)
    except OSError as error:  # TimeoutError is one
        return f"the head does not answer: {error!r}"
    return "the Ray node of this machine has not started" if raylet_socket(settings) is None else None


async def _this_worker_trouble(settings: Settings) -> str | None:
    return await worker_trouble(settings, socket.gethostname())


_CHECKS: Mapping[str, Sequence[Trouble]] = {
    "router": (ROUTER.trouble,),
    "worker": (CELERY_RUNNERS.trouble, _this_worker_trouble),
    "ray": (RAY_RUNNERS.trouble, ray_trouble),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the named part; worker and Ray node are those of this host."""
    parser = argparse.ArgumentParser(prog="health", description="Is it at work?")
    parser.add_argument("part", choices=tuple(_CHECKS))
    return check_health(*_CHECKS[parser.parse_args(arguments).part])


if __name__ == "__main__":
    sys.exit(main())
