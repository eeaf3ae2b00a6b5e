"""What is known of the seconds that an item takes: a discounted mean of logarithms, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Final

DISCOUNT: Final = 0.95
"""Weight of what was known before, at each observation: about the last twenty count, so that it follows changes."""

LEAST_SECONDS: Final = 1e-6
"""What takes less is counted as this: the logarithm needs a positive number."""

UNKNOWN_SECONDS: Final = 0.01
UNKNOWN_DEVIATION: Final = 2.0
"""Of the logarithm, while nothing was seen: a factor of 7 either way is nothing unusual."""


@dataclass(frozen=True, slots=True)
class ItemCost:
    """Seconds of an item, as a lognormal distribution of its mean.

    Attributes:
        mean: of the logarithm of seconds.
        variance: of single observations of it.
        weight: how many recent observations it stands for.
        spread: of items within a job, as standard deviation over mean; None while unknown.
    """

    mean: float = math.log(UNKNOWN_SECONDS)
    variance: float = UNKNOWN_DEVIATION**2
    weight: float = 0.0
    spread: float | None = None

    @property
    def seconds(self) -> float:
        """The median."""
        return math.exp(self.mean)

    @property
    def deviation(self) -> float:
        """How far the logarithm may be off: it falls with the observations, and never to nothing."""
        return math.sqrt(self.variance / (1.0 + 4.0 * self.weight))

    def observed(self, seconds: float, spread: float | None = None) -> ItemCost:
        """With one more observation: mean seconds of the items of a fact, and their spread if there are several."""
        value = math.log(max(LEAST_SECONDS, seconds))
        weight = DISCOUNT * self.weight + 1.0
        step = (value - self.mean) / weight
        mean = self.mean + step
        variance = max(0.0, self.variance + ((value - self.mean) * (value - mean) - self.variance) / (weight + 1.0))
        return ItemCost(mean, variance, weight, _mixed(self.spread, spread, weight))

    def sampled(self, random: Random) -> float:
        """Seconds that it may well take (Thompson sampling: W. R. Thompson, Biometrika 25, 1933)."""
        return math.exp(random.gauss(self.mean, self.deviation))


def _mixed(before: float | None, now: float | None, weight: float) -> float | None:
    if before is None or now is None:
        return before if now is None else now
    return before + (now - before) / weight
