"""When a service that died is started again, and when not any more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """Back-off for a service that dies.

    Attributes:
        first_delay_seconds: Before the first restart; doubled with each quick death that follows another.
        max_delay_seconds: Its bound.
        quick_seconds: A death is quick if it comes earlier than this after the start.
        give_up_after: That many quick deaths in a row are the last.
    """

    first_delay_seconds: float = 0.2
    max_delay_seconds: float = 10.0
    quick_seconds: float = 30.0
    give_up_after: int = 6


class Deaths:
    """The deaths of one service."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self.quick = 0

    def record(self, lived_seconds: float) -> float | None:
        """Count a death, and return the delay in seconds before the restart, or None: give up."""
        self.quick = self.quick + 1 if lived_seconds < self._policy.quick_seconds else 1
        if self.quick >= self._policy.give_up_after:
            return None
        return min(self._policy.first_delay_seconds * float(2 ** (self.quick - 1)), self._policy.max_delay_seconds)
