"""How long to wait before the next attempt, within what is left of a batch's time."""

from __future__ import annotations

import asyncio
import random

FIRST_SECONDS = 0.05
LONGEST_SECONDS = 2.0


class BatchTime:
    """The time that one batch may take, retries included; without retries once its partitions are about to be given up.

    Args:
        seconds: the whole of it.
        giving_up: once set, there are no more pauses and so no more attempts.
    """

    def __init__(self, seconds: float, giving_up: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self.ends_at = self._loop.time() + seconds
        self._giving_up = giving_up

    async def pause(self, attempt: int) -> bool:
        """Wait after failed attempt `attempt` (exponential, jittered); False if the batch's time allows no other."""
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt - 1, 16))
        wait = random.uniform(longest / 2, longest)  # noqa: S311 - jitter spreads attempts, it protects nothing
        if self._giving_up.is_set() or self._loop.time() + wait >= self.ends_at:
            return False
        try:
            async with asyncio.timeout(wait):
                await self._giving_up.wait()
        except TimeoutError:
            return True
        return False
