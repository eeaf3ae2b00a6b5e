"""`python -m services.router`: run the router until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
import sys

from services.router.service import run
from shared.errors import MeshError
from shared.garbage import collect_seldom
from shared.logs import configure_logging, get_logger
from shared.settings import Settings
from shared.telemetry.setup import configure_telemetry, shutdown_telemetry

_SERVICE_NAME = "eldermesh-router"


async def _main(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop)


def main() -> int:
    """Exit status: 0 after a stop in order, 1 when the service stopped itself."""
    settings = Settings()
    configure_logging(settings, _SERVICE_NAME)
    configure_telemetry(settings, _SERVICE_NAME)
    collect_seldom()
    try:
        asyncio.run(_main(settings))
    except MeshError as error:
        get_logger(__name__).error("router failed", reason=str(error), exc_info=error)
        return 1
    finally:
        shutdown_telemetry()
    return 0


if __name__ == "__main__":
    sys.exit(main())
