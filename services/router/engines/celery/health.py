"""Whether Celery workers would run chunks."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import Future

from shared.settings import Settings

_PING_SECONDS = 2.0
_PING_LIMIT_SECONDS = 8.0
"""For the ping and its connections; Celery itself sets no limit."""


async def worker_trouble(settings: Settings, hostname: str | None = None) -> str | None:
    """Why no chunk would run: no Celery worker answers a ping. With a `hostname` only the worker there counts."""
    # Imported here because it takes a second, which `mesh up` need not spend at its start.
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


async def this_worker_trouble(settings: Settings) -> str | None:
    """Why no chunk would run on the worker of this host."""
    return await worker_trouble(settings, socket.gethostname())
