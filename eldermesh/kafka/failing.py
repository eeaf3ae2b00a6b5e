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


class FailingPlaces:
    """Places where the last call failed. Times are those of `time.monotonic`."""

    def __init__(self) -> None:
        self._seen: dict[Place, tuple[float, float]] = {}

    def failed(self, places: Iterable[Place], since: float) -> None:
        """A call that began at `since` has failed there now."""
        now = time.monotonic()
        for place in places:
            first, _ = self._seen.get(place, (since, now))
            self._seen[place] = first, now

    def succeeded(self, places: Iterable[Place]) -> None:
        """Records were acknowledged there, and so the broker is connected."""
        for place in (BROKER, *places):
            self._seen.pop(place, None)

    def longest(self, *, seen_within: float) -> tuple[Place, float] | None:
        """Where it has failed longest, and for how many seconds; not where nobody has tried again for so long."""
        now = time.monotonic()
        failing = [(first, place) for place, (first, last) in self._seen.items() if now - last <= seen_within]
        if not failing:
            return None
        first, place = min(failing)
        return place, now - first
