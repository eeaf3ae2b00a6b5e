"""Ask a dependency again, with back-off, for a bounded time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.errors import RetryableError
from shared.history.clock import Clock

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0

T = TypeVar("T")

_log = logging.getLogger(__name__)


async def with_patience(ask: Callable[[], Awaitable[T]], *, seconds: float, clock: Clock) -> T:
    """Await `ask()` until it answers, at least once.

    Raises:
        RetryableError: it went on failing for `seconds`; this is its last failure.
    """
    give_up_at = clock.monotonic() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return await ask()
        except RetryableError as error:
            left = give_up_at - clock.monotonic()
            if left <= 0:
                raise
            _log.warning("asking again in %.1f s: %s", min(pause, left), error)
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
