"""How often trouble is told: bounded, whoever is in it."""

from __future__ import annotations

import pytest

from shared.history import subject_failures
from shared.history.clock import SystemClock
from shared.history.subject_failures import TELL_SECONDS, OwnTrouble


class _Clock(SystemClock):
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


def test_more_than_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many subjects some are told, once a minute each; that there are more does not make the log repeat them."""
    monkeypatch.setattr(subject_failures, "_MOST_TOLD", 3)
    clock = _Clock()
    trouble = OwnTrouble("jobs.history", clock)
    told: list[set[str]] = []
    for clock.now in (0.0, 1.0, TELL_SECONDS):
        for subject in "abcde":
            trouble.tell(subject, "decide", ValueError())
        trouble.noted(noted := trouble.to_note())
        told.append(set(noted))
    assert told == [{"a", "b", "c"}, set(), {"a", "b", "c"}]
