"""The time that histories and runs go by, and whether the machine was suspended meanwhile."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Protocol

_NOISE_SECONDS = 0.5
"""Two clocks are not read at the same moment."""

if sys.platform == "linux":

    def _since_boot() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def _suspended() -> float:
        awake = time.clock_gettime(time.CLOCK_MONOTONIC)
        return _since_boot() - awake

else:  # macOS counts sleep only in a clock that Python does not name

    def _since_boot() -> float:
        return time.monotonic()

    def _suspended() -> float:
        return 0.0


class Clock(Protocol):
    """Time, so that tests can drive it."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back; stands still for nobody."""
        ...

    def suspended_seconds(self) -> float:
        """How much of that this machine was suspended for: it only grows, and by nothing else."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """`CLOCK_BOOTTIME`, seconds: a lease goes on while the machine sleeps, so both its sides must count that."""
        return _since_boot()

    def suspended_seconds(self) -> float:
        """`CLOCK_BOOTTIME` less `CLOCK_MONOTONIC`, seconds; 0 where the former is not to be had."""
        return _suspended()


@dataclass(frozen=True, slots=True)
class Instant:
    """What a clock said at one moment."""

    monotonic: float
    suspended_seconds: float

    @classmethod
    def now(cls, clock: Clock) -> Instant:
        """Now."""
        return cls(clock.monotonic(), clock.suspended_seconds())


class Waking:
    """When the machine woke up last, as far as this process has noticed. One serves all owners of a process.

    So an owner that is made after the machine woke up (the group has given its partition anew) knows of it, too.

    Args:
        clock: tells how long the machine was suspended.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._suspended = clock.suspended_seconds()
        self._noticed_at: float | None = None

    def was_within(self, seconds: float) -> bool:
        """Whether it was noticed in the last so many seconds, or is now."""
        now, suspended = self._clock.monotonic(), self._clock.suspended_seconds()
        if suspended - self._suspended > _NOISE_SECONDS:
            self._suspended, self._noticed_at = suspended, now
        return self._noticed_at is not None and now - self._noticed_at < seconds
