"""When a channel that did not take a message is tried again. Pure."""

from __future__ import annotations

LONGEST_MS = 3_600_000
"""Longest pause that is our own choice; what the other side asks for may be longer."""


def pause_ms(attempt: int, *, first_ms: int, asked_ms: int | None, chance: float) -> int:
    """Milliseconds to wait after so many attempts.

    Exponential back-off with full jitter: evenly between nothing and `first_ms`, doubled for each attempt, where
    `chance` (0 to 1) says where between. What the other side asked for is the least.
    """
    longest = min(LONGEST_MS, first_ms << min(attempt - 1, 30))
    return round(longest * chance) + (asked_ms or 0)
