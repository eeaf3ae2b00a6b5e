"""How long another side asks to wait: an API, a plug-in. What it says may be anything."""

from __future__ import annotations

import math
from typing import Final

LONGEST_SECONDS: Final = 31 * 86400.0
"""No limit is longer than a month. What asks for more means something else, as milliseconds."""


def asked_seconds(value: object) -> float | None:
    """Seconds to wait from now; None, as if nothing was said, for what is no number, over, or beyond any real limit."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Compared before it is converted: an integer may be larger than any float. NaN fails both.
    return float(value) if 0 < value <= LONGEST_SECONDS and math.isfinite(value) else None


def seconds_until(instant: object, now: float) -> float | None:
    """The same of an instant; both are seconds since 1970."""
    if isinstance(instant, bool) or not isinstance(instant, int | float) or not now < instant <= now + LONGEST_SECONDS:
        return None
    return asked_seconds(instant - now)
