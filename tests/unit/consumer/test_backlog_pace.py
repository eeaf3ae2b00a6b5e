"""How fast a backlog is handed out."""

from __future__ import annotations

import pytest

from shared.consumer.backlog_pace import BACKLOG_RECORDS, MOST_SECONDS, BacklogPace, Waiting

_CROWD = Waiting(6, {"crowd": BACKLOG_RECORDS})


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


@pytest.fixture
def pace(clock: PlayedClock) -> BacklogPace:
    """That of an inbox."""
    return BacklogPace(clock)


def _handle(pace: BacklogPace, clock: PlayedClock, behind: Waiting | None, seconds: float) -> None:
    pace.begins(behind)
    clock.now += seconds
    pace.ends()


def test_a_backlog_rests_for_as_long_as_its_last_batch_took(pace: BacklogPace, clock: PlayedClock) -> None:
    """Then it goes on."""
    _handle(pace, clock, _CROWD, 0.2)
    assert pace.left(_CROWD) == pytest.approx(0.2)
    clock.now += 0.15
    assert pace.left(_CROWD) == pytest.approx(0.05)
    clock.now += 0.15
    assert pace.left(_CROWD) == 0.0


def test_a_slow_batch_has_a_limited_rest(pace: BacklogPace, clock: PlayedClock) -> None:
    """A broker that was away for a minute is no reason to stand still for another one."""
    _handle(pace, clock, _CROWD, 60.0)
    assert pace.left(_CROWD) == pytest.approx(MOST_SECONDS)


@pytest.mark.parametrize(
    "waiting",
    [
        Waiting(0, {"crowd": BACKLOG_RECORDS}),
        Waiting(6, {"crowd": BACKLOG_RECORDS, "other": 1}),
        Waiting(6, {"crowd": BACKLOG_RECORDS - 1}),
        None,
    ],
    ids=["more urgent ones", "one of another tenant", "a few", "nothing"],
)
def test_what_does_not_rest(pace: BacklogPace, clock: PlayedClock, waiting: Waiting | None) -> None:
    """What is more urgent, what is of a tenant who had nothing waiting, and what is no backlog."""
    _handle(pace, clock, _CROWD, 0.2)
    assert pace.left(waiting) == 0.0


def test_a_tenant_whose_records_are_all_handed_out_rests_no_more(pace: BacklogPace, clock: PlayedClock) -> None:
    """Its next one does not wait for somebody else's backlog, which goes on resting once that one is handed out."""
    _handle(pace, clock, Waiting(6, {"crowd": 900, "other": 1}), 0.2)
    assert pace.left(Waiting(6, {"crowd": 900, "other": 1})) > 0
    _handle(pace, clock, Waiting(6, {"crowd": 890}), 0.2)
    assert pace.left(Waiting(6, {"crowd": 890, "other": 1})) == 0.0


def test_an_urgent_batch_in_between_shortens_no_rest(pace: BacklogPace, clock: PlayedClock) -> None:
    """Else a backlog would go on whenever someone asks for something else."""
    _handle(pace, clock, _CROWD, 0.2)
    _handle(pace, clock, _CROWD, 0.01)
    assert pace.left(_CROWD) == pytest.approx(0.19)


def test_what_waits_behind_another_backlog_begins_anew(pace: BacklogPace, clock: PlayedClock) -> None:
    """Its rest is as long as its own batch took."""
    _handle(pace, clock, Waiting(6, {"crowd": 60}), 0.4)
    _handle(pace, clock, Waiting(9, {"crowd": 60}), 0.1)
    assert pace.left(Waiting(9, {"crowd": 60})) == pytest.approx(0.1)


def test_a_poll_without_a_batch_changes_nothing(pace: BacklogPace, clock: PlayedClock) -> None:
    """It comes back with nothing to hand out."""
    _handle(pace, clock, _CROWD, 0.2)
    clock.now += 0.1
    pace.ends()
    assert pace.left(_CROWD) == pytest.approx(0.1)
