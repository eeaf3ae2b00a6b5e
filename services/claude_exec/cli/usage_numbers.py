"""Figures that the CLI tells: it hands on what whoever answers at the API's address says, so any may be none."""

from __future__ import annotations

from typing import Final

_MICROS: Final = 1_000_000
_MOST_USD: Final = 1_000_000
_MOST: Final = 2**53 - 1
"""I-JSON has no larger integer (RFC 7493)."""


def count_of(told: object) -> int | None:
    """How many; None of what cannot be that."""
    if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told <= _MOST:
        return None
    return told


def micros_of(cost_usd: object) -> int | None:
    """A cost in micro-dollars; None of what cannot be one."""
    if isinstance(cost_usd, bool) or not isinstance(cost_usd, int | float) or not 0 <= cost_usd <= _MOST_USD:
        return None
    return round(cost_usd * _MICROS)
