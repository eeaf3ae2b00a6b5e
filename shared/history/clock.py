"""The clocks of histories and runs, and whether the machine was suspended."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Protocol

_NOISE_SECONDS = 0.5
"""Smaller differences come from reading two clocks one after the other."""

if sys.platform == "linux":

    def _since_boot() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def _suspended() -> float:
        awake = time.clock_gettime(time.CLOCK_MONOTONIC)
        return _since_boot() - awake

else:  # on macOS only a clock that Python does not offer counts sleep

    def _since_boot() -> float:
        return time.monotonic()

    def _suspended() -> float:
        return 0.0


class Clock(Protocol):
    """Time, so that tests can drive it."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back, and counts the time that the machine sleeps."""

    def suspended_seconds(self) -> float:
        """How many of these seconds the machine was suspended."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """`CLOCK_BOOTTIME`, seconds: leases run on in Redis while this machine sleeps, so that has to be counted."""
        return _since_boot()

    def suspended_seconds(self) -> float:
        """`CLOCK_BOOTTIME` less `CLOCK_MONOTONIC`, seconds; 0 where there is no `CLOCK_BOOTTIME`."""
        return _suspended()


@dataclass(frozen=True, slots=True)
class Instant:
    """What a clock said at one moment."""

    monotonic: float
    suspended_seconds: float

    @classmethod
    def now(cls, clock: Clock) -> Instant:
        """The present moment."""
        return cls(clock.monotonic(), clock.suspended_seconds())


class Waking:
    """When this process last noticed that the machine had been suspended.

    All owners of a process share one, so that an owner made after the machine woke up knows of it, too.

    Args:
        clock: tells how long the machine was suspended.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._suspended = clock.suspended_seconds()
        self._noticed_at: float | None = None

    def was_within(self, seconds: float) -> bool:
        """Whether a suspension was noticed within the last `seconds`, or just now."""
        now, suspended = self._clock.monotonic(), self._clock.suspended_seconds()
        if suspended - self._suspended > _NOISE_SECONDS:
            self._suspended, self._noticed_at = suspended, now
        return self._noticed_at is not None and now - self._noticed_at < seconds
