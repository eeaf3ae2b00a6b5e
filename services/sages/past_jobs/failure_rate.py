"""How often something failed, with an interval that says how little is known."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

from pydantic import JsonValue

Z: Final = 1.959964
"""Of a two-sided interval of 95 %."""

_DIGITS = 4


@dataclass(frozen=True, slots=True)
class FailureRate:
    """`failed` of `samples`, of which there is at least one."""

    failed: int
    samples: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval at 95 %.

        E. B. Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*, JASA 22 (1927); Brown, Cai
        and DasGupta recommend it for few samples, *Interval Estimation for a Binomial Proportion*, Statistical Science
        16 (2001).
        """
        n, rate = self.samples, self.failed / self.samples
        centre = rate + Z * Z / (2 * n)
        spread = Z * sqrt(rate * (1 - rate) / n + Z * Z / (4 * n * n))
        scale = 1 + Z * Z / n
        return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)

    def as_json(self) -> dict[str, JsonValue]:
        """As it stands in an advice."""
        low, high = self.interval
        return {
            "rate": round(self.failed / self.samples, _DIGITS),
            "low": round(low, _DIGITS),
            "high": round(high, _DIGITS),
            "samples": self.samples,
        }
