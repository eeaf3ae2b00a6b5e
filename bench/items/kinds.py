"""The kinds of items that are measured: what one does, and what is expected of the mesh."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

AT_ONCE = 20
"""Calls of a coroutine function that run at a time in a chunk."""

Beside = Literal["Celery chunks()", "Celery group", "process pool", "asyncio"]


def nothing(item: int) -> int:
    """Do nothing."""
    return item


def one_millisecond(item: int) -> int:
    """Compute for 1 ms of processor time."""
    return _compute(0.001, item)


def ten_milliseconds(item: int) -> int:
    """Compute for 10 ms of processor time."""
    return _compute(0.01, item)


def uneven(item: int) -> int:
    """Compute for 2 ms on average: most items less, some ten times as much."""
    return _compute(random.Random(item).expovariate(500.0), item)  # noqa: S311 - the same times in each run


async def wait(item: int) -> int:
    """Wait for 20 ms, as for an answer."""
    await asyncio.sleep(0.02)
    return item


def _compute(seconds: float, item: int) -> int:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return item


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind.

    Attributes:
        name: for people.
        function: as jobs name it.
        seconds: of a processor that an item takes, or of waiting that others share.
        goals: least ratio to each that it is measured beside.
    """

    name: str
    function: str
    seconds: float
    goals: Mapping[Beside, float]

    @property
    def only_waits(self) -> bool:
        """Whether it takes no processor time, so that many run at once."""
        return "asyncio" in self.goals


KINDS = (
    Kind("no-op", f"{__name__}:nothing", 0.0, {"Celery chunks()": 1.0, "Celery group": 40.0}),
    Kind("1 ms", f"{__name__}:one_millisecond", 0.001, {"process pool": 0.85}),
    Kind("10 ms", f"{__name__}:ten_milliseconds", 0.01, {"process pool": 0.95}),
    Kind("uneven", f"{__name__}:uneven", 0.002, {"process pool": 0.85}),
    Kind("20 ms of waiting", f"{__name__}:wait", 0.02 / AT_ONCE, {"asyncio": 0.9}),
)
