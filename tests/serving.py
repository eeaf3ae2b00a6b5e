"""A service inside this process: its FastStream application, run and told to exit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from faststream import FastStream

from shared.settings import Settings
from tests.waiting import wait_until


@asynccontextmanager
async def serving(
    app: FastStream, settings: Settings, trouble: Callable[[Settings], Awaitable[str | None]]
) -> AsyncIterator[None]:
    """Run it; ready once its health check finds no trouble. Afterwards it has stopped in order."""
    running = asyncio.create_task(app.run())

    async def ready() -> bool:
        if running.done():
            await running
        return await trouble(settings) is None

    try:
        await wait_until(ready, description="the service is ready", interval_seconds=0.1)
        yield
    finally:
        app.exit()
        await running
