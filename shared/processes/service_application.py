"""A service as a FastStream application, the same whether `faststream run` or `python -m` runs it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from faststream import FastStream
from faststream.specification import AsyncAPI

from shared.consumer.inbox import InboxConsumer
from shared.errors import ConfigurationError, MeshError
from shared.logs.setup import configure_logging, get_logger
from shared.processes.garbage_collection import collect_seldom
from shared.processes.service_process import Part, settings_of_process, until_stopped
from shared.settings import Settings
from shared.telemetry.setup import configure_telemetry, shutdown_telemetry

_log = get_logger(__name__)


def service_application(
    title: str,
    inbox: InboxConsumer,
    running: Callable[[], AbstractAsyncContextManager[Sequence[Part]]],
    heartbeat_file: Path | None = None,
) -> FastStream:
    """An application that runs until it is told to exit, or a part of the service stops by itself.

    First `running` is entered; on the way out the batches at hand of `inbox` are finished, then `running` is left. What
    `run` raises is what `running` raised, or a `StopServiceError` if a part stopped by itself.

    Args:
        title: of the AsyncAPI document.
        inbox: its subscribers; one of the parts.
        running: starts all parts, among them `inbox`; on leaving stops them.
        heartbeat_file: is written while all parts work.
    """
    stop = asyncio.Event()
    watches: list[asyncio.Task[None]] = []

    async def end_watch() -> None:
        stop.set()
        if watches:
            await asyncio.wait(watches)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with running() as parts:
            watching = asyncio.create_task(until_stopped(parts, stop, heartbeat_file), name="parts of the service")
            watching.add_done_callback(lambda _: app.exit())
            watches.append(watching)
            try:
                yield
            finally:
                await end_watch()
                await watching  # why a part has stopped comes before what went wrong while the others stopped

    async def drain() -> None:
        await end_watch()  # from here on parts stop because they are told to
        await inbox.stop()

    app = FastStream(
        inbox.broker,
        logger=None,
        lifespan=lifespan,
        on_shutdown=[drain],
        specification=AsyncAPI(title=title),
    )
    return app


def process_application(name: str, make: Callable[[Settings], FastStream]) -> FastStream:
    """The application of this process, with settings of the environment; its `run` sets up logs and telemetry, too.

    The process exits with 2 where settings are wrong, with 1 where the service fails or cannot be made, else with 0.

    Args:
        name: of the service in logs and spans.
        make: makes it of the settings.
    """
    settings = settings_of_process(name)
    try:
        app = make(settings)
    except ConfigurationError as error:
        configure_logging(settings, name)
        _fail(name, error)
    app.lifespan_context = partial(_in_process, name, settings, app.lifespan_context)
    return app


@asynccontextmanager
async def _in_process(
    name: str, settings: Settings, lifespan: Callable[..., AbstractAsyncContextManager[None]], **options: Any
) -> AsyncIterator[None]:
    configure_logging(settings, name)
    configure_telemetry(settings, name)
    collect_seldom()
    try:
        async with lifespan(**options):
            yield
    except MeshError as error:
        _fail(name, error)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):  # whoever sends one more will not wait for telemetry
            asyncio.get_running_loop().remove_signal_handler(number)
        shutdown_telemetry()


def _fail(name: str, error: MeshError) -> NoReturn:
    _log.error("service failed", service=name, reason=str(error), exc_info=error)
    sys.exit(1)
