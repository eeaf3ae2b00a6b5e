"""Which items of a slice run, by what its host has said."""

from __future__ import annotations

import pytest

from services.router.engines.python.host_answers import HostAnswer
from services.router.engines.python.item_host import frames
from services.router.engines.python.slice_progress import BEGIN_SECONDS, GRACE_SECONDS, SliceProgress


def said(kind: int, position: int = 0, *, began: float = 10.0, ended: float = 11.0) -> HostAnswer:
    """An answer."""
    return HostAnswer(kind, position, began, ended, b"")


def test_one_by_one_the_next_runs() -> None:
    """From when the one before it ended; after the last one none does, and the host has as long to say so."""
    progress = SliceProgress(2, began=5.0, timeout_seconds=1.0, at_once=False)
    assert (progress.running, progress.late_at, progress.has_begun) == ((), 6.0, False)
    progress.heard(said(frames.BEGAN, 0, began=5.5), 200.0)
    assert (progress.running, progress.late_at, progress.has_begun) == ((0,), 6.5, True)
    progress.heard(said(frames.SUCCEEDED, 0, ended=7.0), 200.0)
    assert (progress.running, progress.late_at) == ((1,), 8.0)
    progress.heard(said(frames.FAILED, 1, ended=8.0), 200.0)
    assert (progress.running, progress.late_at) == ((), 9.0)
    assert not progress.is_over
    progress.heard(said(frames.OVER, 2), 200.0)
    assert progress.is_over


def test_at_once_the_host_says_which_run() -> None:
    """The earliest of them is late first, once the host has had time to end it; any may have kept it from that."""
    progress = SliceProgress(3, began=5.0, timeout_seconds=1.0, at_once=True)
    progress.heard(said(frames.BEGAN, 0, began=10.0), 200.0)
    progress.heard(said(frames.BEGAN, 1, began=10.2), 200.0)
    assert (progress.running, progress.late_at) == ((0, 1), 11.0 + GRACE_SECONDS)
    progress.heard(said(frames.SUCCEEDED, 0), 200.0)
    progress.heard(said(frames.BEGAN, 2, began=11.0), 200.0)
    assert (progress.running, progress.late_at) == ((1, 2), 11.2 + GRACE_SECONDS)


def test_a_host_in_which_nothing_runs_is_late() -> None:
    """It has as long as an item: what user code left behind may keep it from going on for ever."""
    progress = SliceProgress(2, began=5.0, timeout_seconds=1.0, at_once=True)
    assert (progress.running, progress.late_at) == ((), 6.0 + GRACE_SECONDS)
    progress.heard(said(frames.BEGAN, 0, began=10.0), 200.0)
    progress.heard(said(frames.SUCCEEDED, 0), 200.0)
    progress.listening(not_since=10.5, now=10.6)
    assert (progress.running, progress.late_at) == ((), 11.6 + GRACE_SECONDS)


@pytest.mark.parametrize("grace", [0.0, GRACE_SECONDS], ids=["one by one", "at once"])
def test_while_nobody_listens_no_time_passes(grace: float) -> None:
    """The host may have waited until its last answer was read: neither what ran, nor what has begun since, is late."""
    at_once = grace > 0
    progress = SliceProgress(3, began=5.0, timeout_seconds=10.0, at_once=at_once)
    progress.heard(said(frames.BEGAN, 0, began=5.0), 200.0)
    progress.listening(not_since=6.0, now=100.0)
    assert progress.late_at == 5.0 + 94.0 + 10.0 + grace
    if at_once:
        progress.heard(said(frames.BEGAN, 1, began=50.0), 200.0)
    progress.heard(said(frames.SUCCEEDED, 0, ended=50.0), 200.0)
    assert (progress.running, progress.late_at) == ((1,), 110.0 + grace)


def test_answers_of_others_spare_nobody() -> None:
    """They come all the time."""
    progress = SliceProgress(2, began=5.0, timeout_seconds=1.0, at_once=True)
    progress.heard(said(frames.BEGAN, 0, began=10.0), 200.0)
    for tenth in range(1, 5):
        progress.listening(not_since=10.0 + tenth / 10, now=10.0 + tenth / 10)
    assert progress.late_at == pytest.approx(11.0 + GRACE_SECONDS)


@pytest.mark.parametrize(("told", "believed"), [(1e300, 20.0), (float("nan"), 20.0), (-5.0, 5.0), (7.0, 7.0)])
def test_only_times_that_can_be_are_believed(told: float, believed: float) -> None:
    """User code that writes frames of its own does not get more time than there is."""
    progress = SliceProgress(2, began=5.0, timeout_seconds=1.0, at_once=True)
    progress.heard(said(frames.BEGAN, 0, began=told), 20.0)
    assert progress.late_at == believed + 1.0 + GRACE_SECONDS


def test_an_item_begins_once() -> None:
    """Neither while it runs nor later, whatever a frame says."""
    progress = SliceProgress(2, began=5.0, timeout_seconds=1.0, at_once=True)
    progress.heard(said(frames.BEGAN, 0), 20.0)
    with pytest.raises(ConnectionError):
        progress.heard(said(frames.BEGAN, 0), 20.0)
    progress.heard(said(frames.SUCCEEDED, 0), 20.0)
    with pytest.raises(ConnectionError):
        progress.heard(said(frames.BEGAN, 0), 20.0)


def test_without_a_limit_nothing_is_late() -> None:
    """However long it takes, once it has begun: that depends on the host alone."""
    progress = SliceProgress(1, began=5.0, timeout_seconds=None, at_once=False)
    assert progress.late_at == 5.0 + BEGIN_SECONDS
    progress.heard(said(frames.BEGAN, 0, began=5.0), 6.0)
    assert progress.late_at is None


@pytest.mark.parametrize(
    "answer",
    [
        said(frames.SUCCEEDED, 0),
        said(frames.BEGAN, 1),
        said(frames.READY),
        said(frames.LOADED),
        said(frames.OVER, 1),
    ],
    ids=["it has not begun", "another begins", "ready", "loaded", "over too early"],
)
def test_what_no_host_would_say(answer: HostAnswer) -> None:
    """Whoever wrote that is not believed."""
    progress = SliceProgress(2, began=5.0, timeout_seconds=1.0, at_once=False)
    with pytest.raises(ConnectionError):
        progress.heard(answer, 200.0)


def test_the_end_of_another_item() -> None:
    """One by one, the first has to end before the second can."""
    progress = SliceProgress(2, began=5.0, timeout_seconds=1.0, at_once=False)
    progress.heard(said(frames.BEGAN, 0), 200.0)
    with pytest.raises(ConnectionError):
        progress.heard(said(frames.SUCCEEDED, 1), 200.0)


@pytest.mark.parametrize("answer", [said(frames.BEGAN, 2), said(frames.SUCCEEDED, 0)])
def test_what_no_host_would_say_of_items_at_once(answer: HostAnswer) -> None:
    """An item that there is not, and the end of one that has not begun."""
    with pytest.raises(ConnectionError):
        SliceProgress(2, began=5.0, timeout_seconds=1.0, at_once=True).heard(answer, 200.0)
