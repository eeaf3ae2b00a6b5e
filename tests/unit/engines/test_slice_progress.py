"""Which items of a slice run, by what its host has said."""

from __future__ import annotations

import pytest

from services.router.engines.python import item_host
from services.router.engines.python.host_answers import HostAnswer
from services.router.engines.python.slice_progress import GRACE_SECONDS, SliceProgress


def said(kind: int, position: int = 0, *, began: float = 10.0, ended: float = 11.0) -> HostAnswer:
    """An answer."""
    return HostAnswer(kind, position, began, ended, b"")


def test_one_by_one_the_next_runs() -> None:
    """From when the one before it ended; after the last one none does."""
    progress = SliceProgress(2, began=5.0, timeout_seconds=1.0, at_once=False)
    assert (progress.running, progress.late_at(0.0), progress.late(0.0)) == ((0,), 6.0, (0,))
    progress.heard(said(item_host.SUCCEEDED, 0, ended=7.0))
    assert (progress.running, progress.late_at(0.0), progress.late(0.0)) == ((1,), 8.0, (1,))
    progress.heard(said(item_host.FAILED, 1, ended=8.0))
    assert (progress.running, progress.late_at(0.0), progress.late(0.0)) == ((), 9.0, ())
    assert not progress.is_over
    progress.heard(said(item_host.OVER, 2))
    assert progress.is_over


def test_at_once_the_host_says_which_run() -> None:
    """The earliest of them is late first, once the host has had time to end it."""
    progress = SliceProgress(3, began=5.0, timeout_seconds=1.0, at_once=True)
    assert (progress.running, progress.late_at(0.0), progress.late(0.0)) == ((), None, ())
    progress.heard(said(item_host.BEGAN, 0, began=10.0))
    progress.heard(said(item_host.BEGAN, 1, began=10.2))
    progress.heard(said(item_host.BEGAN, 2, began=11.0))
    assert progress.late_at(0.0) == 11.0 + GRACE_SECONDS
    assert set(progress.late(0.0)) == {0, 1}
    progress.heard(said(item_host.SUCCEEDED, 0))
    assert set(progress.running) == {1, 2}
    assert set(progress.late(0.0)) == {1}


def test_who_listens_late_counts_from_then() -> None:
    """The host may have waited until its last answer was read, and has just begun the next item."""
    progress = SliceProgress(2, began=5.0, timeout_seconds=1.0, at_once=False)
    progress.heard(said(item_host.SUCCEEDED, 0, ended=7.0))
    assert (progress.late_at(100.0), progress.late(100.0)) == (101.0, (1,))


def test_at_once_nobody_is_spared_by_the_answers_of_others() -> None:
    """They come all the time."""
    progress = SliceProgress(2, began=5.0, timeout_seconds=1.0, at_once=True)
    progress.heard(said(item_host.BEGAN, 0, began=10.0))
    assert progress.late_at(100.0) == 11.0 + GRACE_SECONDS


def test_without_a_limit_none_is_late() -> None:
    """However long it takes."""
    progress = SliceProgress(1, began=5.0, timeout_seconds=None, at_once=False)
    assert (progress.late_at(0.0), progress.late(0.0)) == (None, ())


@pytest.mark.parametrize(
    "answer",
    [
        said(item_host.SUCCEEDED, 1),
        said(item_host.BEGAN, 0),
        said(item_host.READY),
        said(item_host.LOADED),
        said(item_host.OVER, 1),
    ],
    ids=["another item", "nothing runs at once", "ready", "loaded", "over too early"],
)
def test_what_no_host_would_say(answer: HostAnswer) -> None:
    """Whoever wrote that is not believed."""
    progress = SliceProgress(2, began=5.0, timeout_seconds=1.0, at_once=False)
    with pytest.raises(ConnectionError):
        progress.heard(answer)


@pytest.mark.parametrize("answer", [said(item_host.BEGAN, 2), said(item_host.SUCCEEDED, 0)])
def test_what_no_host_would_say_of_items_at_once(answer: HostAnswer) -> None:
    """An item that there is not, and the end of one that has not begun."""
    with pytest.raises(ConnectionError):
        SliceProgress(2, began=5.0, timeout_seconds=1.0, at_once=True).heard(answer)
