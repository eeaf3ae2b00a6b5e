"""When a service that died is started again."""

from __future__ import annotations

from dataclasses import dataclass

QUICK_SECONDS = 30.0
"""A death that comes earlier after a start is one of a row; a service that has lived longer is well."""

_MOST_DOUBLINGS = 30
"""Of a delay that is bounded long before."""


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """Back-off for a service that dies.

    Attributes:
        first_delay_seconds: Before the first restart; doubled with each quick death that follows another.
        max_delay_seconds: Its bound.
        quick_seconds: A death is quick if it comes earlier than this after the start.
        give_up_after: That many quick deaths in a row of a service that holds all in memory are the last of the mesh.
    """

    first_delay_seconds: float = 0.2
    max_delay_seconds: float = 10.0
    quick_seconds: float = QUICK_SECONDS
    give_up_after: int = 6


class Deaths:
    """The deaths of one service."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self.quick = 0

    @property
    def are_too_many(self) -> bool:
        """Whether a service that forgets everything each time had better not be started again."""
        return self.quick >= self._policy.give_up_after

    def record(self, lived_seconds: float) -> float:
        """Count a death, and return the delay in seconds before the restart."""
        self.quick = self.quick + 1 if lived_seconds < self._policy.quick_seconds else 1
        doublings = min(self.quick - 1, _MOST_DOUBLINGS)
        return min(self._policy.first_delay_seconds * float(2**doublings), self._policy.max_delay_seconds)
