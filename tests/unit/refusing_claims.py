"""Claims of a Redis that is away, or that does not know the subject yet."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ConnectionError as RedisAwayError

from shared.history.runs.claim_request import NOT_YET_SECONDS
from shared.history.runs.claims import Claimed, ClaimRefusal
from tests.unit.runs import MovedClock, PlayedClaims

ASKING_SECONDS = NOT_YET_SECONDS + 1
"""So that each round of asking is one question, and no test waits for the pause between two."""


@dataclass(slots=True)
class RefusingClaims(PlayedClaims):
    """Each question takes `ASKING_SECONDS` and is answered as planned; then the claim is free."""

    clock: MovedClock = field(default_factory=MovedClock)
    answers: deque[ClaimRefusal | None] = field(default_factory=deque)
    """None: no answer."""

    async def claim(self, *_: Any, **__: Any) -> Claimed | ClaimRefusal:
        """As planned."""
        self.calls.append("claim")
        await asyncio.sleep(0)
        if not self.answers:
            return Claimed(self.missing, "mark")
        self.clock.seconds += ASKING_SECONDS
        answer = self.answers.popleft()
        if answer is None:
            raise RedisAwayError("away")
        return answer
