"""`mesh …` on the topics of a test, which need no running mesh."""

from __future__ import annotations

import asyncio

from shared.settings import Settings
from tests.unit.cli.command_line import Ran, run_here

_COMMAND_SECONDS = 120.0


async def mesh(settings: Settings, *arguments: str, stdin: str | None = None) -> Ran:
    """Run one to its end, in a thread of this process."""
    ran = asyncio.to_thread(run_here, arguments, settings.environment(), stdin)
    return await asyncio.wait_for(ran, _COMMAND_SECONDS)
