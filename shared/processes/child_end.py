"""The end of a child process, waited for within a time."""

from __future__ import annotations

import asyncio


async def ends_within(process: asyncio.subprocess.Process, seconds: float) -> bool:
    """Wait for the end of a process; whether it came in time."""
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        return False
    return True
