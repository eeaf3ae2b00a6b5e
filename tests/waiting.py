"""Wait for something to become true, with a limit: what tests use in place of sleeping."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, overload

T = TypeVar("T")


@overload
async def wait_until(
    predicate: Callable[[], Awaitable[T | None]],
    *,
    description: str,
    timeout_seconds: float = 120.0,
    interval_seconds: float = 0.02,
) -> T: ...


@overload
async def wait_until(
    predicate: Callable[[], T | None],
    *,
    description: str,
    timeout_seconds: float = 120.0,
    interval_seconds: float = 0.02,
) -> T: ...


async def wait_until(
    predicate: Callable[[], object],
    *,
    description: str,
    timeout_seconds: float = 120.0,
    interval_seconds: float = 0.02,
) -> object:
    """Ask `predicate` (plain or async) every `interval_seconds` until its value is truthy, and return that value.

    It is asked at least once. An async predicate that is still busy when the time is over is cancelled.
    What the predicate raises is not caught.

    Raises AssertionError, naming `description` and the last value, after `timeout_seconds`.
    """
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    last: object = "nothing, it was still busy"
    scope = asyncio.timeout_at(deadline)
    try:
        async with scope:
            while True:
                value = predicate()
                if inspect.isawaitable(value):
                    value = await cast("Awaitable[object]", value)
                if value:
                    return value
                last = repr(value)
                await asyncio.sleep(interval_seconds)
    except TimeoutError:
        if not scope.expired():
            raise
    raise AssertionError(f"not within {timeout_seconds:g} s: {description} (last value: {last})")
