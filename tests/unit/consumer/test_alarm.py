"""Alarms: told once a minute for each source, and once for each time that the limit is passed."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.consumer.alarm import (
    LOG_EVERY_SECONDS,
    MAX_SOURCES,
    NO_SOURCE,
    OTHER_SOURCES,
    DeadLetterAlarm,
    DeadLetterLimit,
)
from shared.errors import DeadLetterError
from tests.unit.consumer.records import consumed


class Clock:
    """A monotonic clock that is driven by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Its seconds."""
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    """Stands still."""
    return Clock()


def _alarm(clock: Clock, **limit: Any) -> DeadLetterAlarm:
    values = {"window": 1000, "max_in_a_row": 1000} | limit
    return DeadLetterAlarm("here.jobs", limit=DeadLetterLimit(**values), now=clock)


def _is_over(alarm: DeadLetterAlarm) -> bool:
    return alarm.over_limit


def _refuse(alarm: DeadLetterAlarm, source: str | None = None, reason: str = "bad") -> None:
    headers = () if source is None else (("ce_source", source.encode()),)
    alarm.refused(consumed(headers=headers), DeadLetterError("invalid", reason))


def _told(logs: list[MutableMapping[str, Any]]) -> list[tuple[str, int]]:
    return [(entry["source"], entry["count"]) for entry in logs if entry["event"] == "dead letters"]


def test_the_first_is_told_at_once_and_the_rest_after_a_minute(clock: Clock) -> None:
    """With their number and the last reason; each source by itself."""
    alarm = _alarm(clock)
    with capture_logs() as logs:
        for number in range(5):
            _refuse(alarm, "/ci", f"reason {number}")
        _refuse(alarm, None)
        clock.seconds = LOG_EVERY_SECONDS
        _refuse(alarm, "/ci", "the last")
    assert _told(logs) == [("/ci", 1), (NO_SOURCE, 1), ("/ci", 5)]
    assert logs[-1]["last_reason"] == "the last"


def test_a_source_that_fell_silent_is_told_of_too(clock: Clock) -> None:
    """What is unsaid is said when the minute is over, once."""
    alarm = _alarm(clock)
    with capture_logs() as logs:
        _refuse(alarm)
        _refuse(alarm)
        alarm.speak()
        assert _told(logs) == [(NO_SOURCE, 1)]
        clock.seconds = LOG_EVERY_SECONDS
        alarm.speak()
        alarm.speak()
    assert _told(logs) == [(NO_SOURCE, 1), (NO_SOURCE, 1)]


def test_sources_are_named_by_strangers_and_so_bounded(clock: Clock) -> None:
    """Beyond the bound they are counted together."""
    alarm = _alarm(clock)
    with capture_logs() as logs:
        for number in range(MAX_SOURCES + 10):
            _refuse(alarm, f"/{number}")
        clock.seconds = LOG_EVERY_SECONDS
        alarm.speak()
    told = _told(logs)
    assert len(told) == MAX_SOURCES + 2
    assert told[-2:] == [(OTHER_SOURCES, 1), (OTHER_SOURCES, 9)]


def test_a_run_of_dead_letters_passes_the_limit_until_a_good_record_comes(clock: Clock) -> None:
    """One error when it is passed, one word when it is over."""
    alarm = _alarm(clock, max_in_a_row=3)
    with capture_logs() as logs:
        for _ in range(5):
            _refuse(alarm)
        assert _is_over(alarm)
        alarm.handled()
        assert not _is_over(alarm)
    assert [entry["log_level"] for entry in logs] == ["warning", "error", "warning"]


def test_a_ratio_of_the_last_records_passes_the_limit(clock: Clock) -> None:
    """Only once the window is full, so that the first bad record of a fresh service is no alarm."""
    alarm = _alarm(clock, window=10, max_ratio=0.5)
    for _ in range(5):
        alarm.handled()
        _refuse(alarm)
    assert not _is_over(alarm)
    _refuse(alarm)
    assert _is_over(alarm)
    for _ in range(2):
        alarm.handled()
    assert not _is_over(alarm)
