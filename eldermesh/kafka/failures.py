"""Where Kafka acknowledges nothing, and since when: one partition may be in trouble while all others are well."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, NamedTuple


class Place(NamedTuple):
    """A partition of a topic; `partition` is None where aiokafka chooses."""

    topic: str
    partition: int | None


BROKER: Final = Place("", None)
"""Stands for all places: nothing is connected."""

OLD_SECONDS: Final = 45.0
"""A failure that nobody has repeated for so long says nothing of now: who still has something to send tries again, and
is told after 30 s at most, where it has to connect first."""


class FailingPlaces:
    """Places where the last call failed. Times are those of `time.monotonic`."""

    def __init__(self) -> None:
        self._seen: dict[Place, tuple[float, float]] = {}

    def failed(self, places: Iterable[Place], since: float) -> None:
        """A call that began at `since` has failed there now."""
        now = time.monotonic()
        for place in places:
            first, last = self._seen.get(place, (since, now))
            self._seen[place] = since if _is_old(last, now) else first, now

    def succeeded(self, places: Iterable[Place]) -> None:
        """Records were acknowledged there, and so the broker is connected."""
        for place in (BROKER, *places):
            self._seen.pop(place, None)

    def longest(self) -> tuple[Place, float] | None:
        """Where it has failed longest, and for how many seconds; not where the last failure is old."""
        now = time.monotonic()
        failing = [(first, place) for place, (first, last) in self._seen.items() if not _is_old(last, now)]
        if not failing:
            return None
        first, place = min(failing)
        return place, now - first


def _is_old(last: float, now: float) -> bool:
    return now - last > OLD_SECONDS
