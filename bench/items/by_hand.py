"""What one writes by hand on one machine: a process pool, and coroutines with a semaphore."""

from __future__ import annotations

import asyncio
import math
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pkgutil import resolve_name

_CHUNKS = 8
"""For each process of the pool, so that uneven items spread."""


class Pool:
    """Processes that are there before the first item."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))

    def seconds(self, function: str, items: int) -> float:
        """From the first item's call to the last result in hand."""
        began = time.perf_counter()
        size = math.ceil(items / (self._processes * _CHUNKS))
        results = list(self._pool.map(resolve_name(function), range(items), chunksize=size))
        taken = time.perf_counter() - began
        if results != list(range(items)):
            raise ValueError("the pool's results are not those of the items")
        return taken

    def close(self) -> None:
        """End its processes."""
        self._pool.shutdown()


async def asyncio_seconds(function: str, items: int, at_once: int) -> float:
    """From the first item's call to the last result in hand, so many at a time in this event loop."""
    call = resolve_name(function)
    free = asyncio.Semaphore(at_once)

    async def one(item: int) -> int:
        async with free:
            result: int = await call(item)
            return result

    began = time.perf_counter()
    results = await asyncio.gather(*(one(item) for item in range(items)))
    taken = time.perf_counter() - began
    if results != list(range(items)):
        raise ValueError("the results are not those of the items")
    return taken
