"""Where Kafka acknowledges nothing, and for how long."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from eldermesh.kafka import failures
from eldermesh.kafka.failures import BROKER, OLD_SECONDS, FailingPlaces, Place

HERE, THERE = Place("jobs.dead", 3), Place("jobs.progress", 3)


class Clock:
    """What time it is."""

    def __init__(self) -> None:
        self.now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Of the module alone."""
    clock = Clock()
    monkeypatch.setattr(failures, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_the_longest_is_told(clock: Clock) -> None:
    """From the beginning of the first call that failed, though others fail later, or elsewhere."""
    places = FailingPlaces()
    places.failed([HERE], 990.0)
    clock.now = 1020.0
    places.failed([HERE, THERE], 1015.0)
    assert places.longest() == (HERE, 30.0)


def test_a_success_ends_it_there_alone(clock: Clock) -> None:
    """The broker is connected then, whatever is with other partitions."""
    places = FailingPlaces()
    places.failed([BROKER, HERE], 980.0)
    places.failed([THERE], 995.0)
    places.succeeded([HERE])
    assert places.longest() == (THERE, 5.0)
    places.succeeded([THERE])
    assert places.longest() is None
    assert clock.now == 1000.0


def test_a_failure_that_nobody_repeats_is_over(clock: Clock) -> None:
    """The partition went to another replica, say; when it comes back and fails at once, that is a new failure."""
    places = FailingPlaces()
    places.failed([HERE], 990.0)
    clock.now += OLD_SECONDS
    assert places.longest() == (HERE, 10 + OLD_SECONDS)
    clock.now += 1
    assert places.longest() is None
    clock.now += 20_000
    places.failed([HERE], clock.now - 2)
    assert places.longest() == (HERE, 2.0)
