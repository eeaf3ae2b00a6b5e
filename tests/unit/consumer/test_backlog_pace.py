"""How fast a backlog is handed out."""

from __future__ import annotations

import pytest

from shared.consumer.backlog_pace import BACKLOG_RECORDS, MOST_SECONDS, BacklogPace
from shared.history.owner_parts import Rank

_BATCH = Rank(6, 1, "crowd")


class PlayedClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Now."""
        return self.now


@pytest.fixture
def clock() -> PlayedClock:
    """When it is."""
    return PlayedClock()


def _handled(clock: PlayedClock, *ranks: Rank, seconds: float) -> BacklogPace:
    pace = BacklogPace(clock)
    pace.begins(ranks)
    clock.now += seconds
    pace.ends()
    return pace


def test_a_backlog_rests_for_as_long_as_its_last_batch_took(clock: PlayedClock) -> None:
    """Then it goes on."""
    pace = _handled(clock, _BATCH, seconds=0.2)
    assert pace.left(_BATCH, BACKLOG_RECORDS) == pytest.approx(0.2)
    clock.now += 0.15
    assert pace.left(_BATCH, BACKLOG_RECORDS) == pytest.approx(0.05)
    clock.now += 0.15
    assert pace.left(_BATCH, BACKLOG_RECORDS) == 0.0


def test_a_slow_batch_has_a_limited_rest(clock: PlayedClock) -> None:
    """A broker that was away for a minute is no reason to stand still for another one."""
    assert _handled(clock, _BATCH, seconds=60.0).left(_BATCH, BACKLOG_RECORDS) == pytest.approx(MOST_SECONDS)


@pytest.mark.parametrize(
    ("rank", "waiting"),
    [
        (Rank(0, 2, "crowd"), BACKLOG_RECORDS),
        (Rank(6, 2, "other"), BACKLOG_RECORDS),
        (Rank(6, 2, "crowd"), BACKLOG_RECORDS - 1),
    ],
    ids=["a more urgent one", "one of another tenant", "a few"],
)
def test_what_does_not_rest(clock: PlayedClock, rank: Rank, waiting: int) -> None:
    """What is more urgent, what is another tenant's, and what is no backlog."""
    assert _handled(clock, _BATCH, seconds=0.2).left(rank, waiting) == 0.0


def test_an_urgent_batch_in_between_ends_no_rest(clock: PlayedClock) -> None:
    """Else a backlog would go on whenever someone else asks for something."""
    pace = _handled(clock, _BATCH, Rank(6, 3, "other"), seconds=0.2)
    pace.begins([Rank(0, 2, "crowd")])
    clock.now += 0.05
    pace.ends()
    assert pace.left(Rank(6, 4, "other"), BACKLOG_RECORDS) == pytest.approx(0.15)


def test_a_poll_without_a_batch_changes_nothing(clock: PlayedClock) -> None:
    """It comes back with nothing to hand out."""
    pace = _handled(clock, _BATCH, seconds=0.2)
    clock.now += 0.1
    pace.ends()
    assert pace.left(_BATCH, BACKLOG_RECORDS) == pytest.approx(0.1)
