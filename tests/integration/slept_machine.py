"""A slice on a machine that has slept: prints how many items began when their lease had ended, and when it had not."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import aclosing

from services.router.engines.python.item_process import ItemProcess
from shared.history.clock import SystemClock


async def ended(process: ItemProcess, seconds_left: float) -> int:
    """How many of two items began."""
    clock, number = SystemClock(), 0
    given = process.slice(
        "math:sqrt", [4, 9], timeout_seconds=60.0, before=lambda: clock.monotonic() + seconds_left, at_once=1
    )
    async with aclosing(given):
        async for outcomes in given:
            number += len(outcomes)
    return number


async def _main() -> None:
    process = ItemProcess()
    try:
        slept = round(time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic())
        sys.stdout.write(f"{slept} {await ended(process, -0.001)} {await ended(process, 60.0)}\n")
    finally:
        await process.close()


if __name__ == "__main__":
    asyncio.run(_main())
