"""Whether a process notices that its machine was suspended."""

from __future__ import annotations

import sys

import pytest

from shared.history.clock import SystemClock, Waking
from tests.unit.runs import MovedClock


def test_waking_up_is_noticed_for_as_long_as_is_asked() -> None:
    """From when it was noticed, whoever asks first."""
    clock = MovedClock()
    waking = Waking(clock)
    assert not waking.was_within(15.0)
    clock.suspend(3600.0)
    clock.seconds += 20.0
    assert waking.was_within(15.0)
    clock.seconds += 14.0
    assert waking.was_within(15.0)
    clock.seconds += 1.0
    assert not waking.was_within(15.0)


def test_each_suspension_counts_anew() -> None:
    """A second one begins the wait again."""
    clock = MovedClock()
    waking = Waking(clock)
    clock.suspend(60.0)
    assert waking.was_within(15.0)
    clock.seconds += 10.0
    clock.suspend(1.0)
    assert waking.was_within(15.0)
    clock.seconds += 14.0
    assert waking.was_within(15.0)


def test_time_that_passes_awake_is_no_suspension() -> None:
    """Nor is what lies between the reading of two clocks."""
    clock = MovedClock()
    waking = Waking(clock)
    clock.seconds += 3600.0
    clock.asleep += 0.001
    assert not waking.was_within(7200.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_machine_tells_how_long_it_was_suspended() -> None:
    """It is part of the time since the boot, and does not grow while a test runs."""
    clock = SystemClock()
    before = clock.suspended_seconds()
    assert 0.0 <= before < clock.monotonic()
    assert clock.suspended_seconds() - before < 0.5
