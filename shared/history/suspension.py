"""Notices that this machine was suspended: whoever judges claims then waits until its runs have had their say."""

from __future__ import annotations

from shared.history.clock import Clock

_NOISE_SECONDS = 0.5
"""Two clocks are not read at the same moment."""


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
