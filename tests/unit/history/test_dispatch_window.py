"""The dispatch window."""

from __future__ import annotations

import gc

from shared.history.dispatch_window import DispatchWindow, WindowGroup


def test_room_is_for_chunks_that_stand_in_a_plan() -> None:
    """Sent chunks take it, finished and replaced ones give it back; too many leave none."""
    window = DispatchWindow(2, 60.0)
    window.sent("a", 0.0, "", 3)
    assert (window.taken(""), window.room("", 3), len(window), "a" in window, "b" in window) == (1, 1, 1, True, False)
    window.claimed("b", 0.0)
    window.claimed("c", 0.0)
    window.sent("d", 0.0, "ray", 3)
    assert (window.taken(""), window.room("", 3), window.taken("ray")) == (3, 0, 1)
    window.drop(["a", "b", "unknown"], 1.0)
    assert window.chunks() == ["c", "d"]
    window.claimed("d", 1.0)
    assert (window.taken(""), window.taken("ray")) == (1, 1)


def test_windows_of_a_process_share_the_slots() -> None:
    """One alone fills them with one chunk in four to spare; those that are busy in the same lane divide that."""
    group = WindowGroup()
    one, other = DispatchWindow(16, 60.0, group), DispatchWindow(16, 60.0, group)
    assert (one.room("celery", 3), other.room("celery", 3)) == (10, 10)
    other.sent("a", 0.0, "celery", 3)
    other.sent("b", 0.0, "ray", 3)
    assert (one.room("celery", 3), other.room("celery", 3)) == (5, 9)
    del other
    gc.collect()
    assert one.room("celery", 3) == 10


def test_what_the_engine_runs_later_takes_no_room() -> None:
    """Chunks of lower priority; what an earlier owner has sent runs, and takes it from all."""
    window = DispatchWindow(2, 60.0)
    window.sent("a", 0.0, "", 6)
    window.sent("b", 0.0, "", 3)
    assert [window.room("", priority) for priority in (0, 3, 6)] == [2, 1, 0]
    window.claimed("c", 0.0)
    assert [window.room("", priority) for priority in (0, 3, 6)] == [1, 0, 0]


def test_only_whole_times_count() -> None:
    """Not that of a chunk of an earlier owner, of one that was sent again, or of one whose claim vanished."""
    window = DispatchWindow(16, 60.0)
    window.claimed("a", 0.0)
    window.sent("b", 0.0, "", 3)
    window.sent("b", 1.0, "", 3)
    window.sent("c", 0.0, "", 3)
    window.claimed("c", 1.0)
    window.unclaimed("c", 2.0)
    for number in range(7):
        window.sent(f"more {number}", 2.0, "", 3)
    window.drop(["a", "b", "c"], 2.01)
    assert window.room("", 3) == 3
    for number in range(3):
        window.sent(f"yet more {number}", 2.01, "", 3)
    window.drop(["more 0"], 2.02)
    assert window.room("", 3) == 2


def test_a_chunk_without_a_claim_is_overdue_after_the_time_out() -> None:
    """Sent again, it has twice the time, so that a long queue is not filled with copies; at most sixteen times."""
    window = DispatchWindow(2, 60.0)
    window.sent("a", 0.0, "", 3)
    assert window.overdue(60.0) == []
    assert window.overdue(60.5) == ["a"]
    now = 61.0
    for doubled in (2, 4, 8, 16, 16):
        window.sent("a", now, "", 3)
        assert window.overdue(now + 60.0 * doubled) == []
        now += 60.0 * doubled + 1
        assert window.overdue(now) == ["a"]


def test_a_claim_that_vanished_starts_the_wait() -> None:
    """After a wipe: the heartbeat that will re-create it may be under way."""
    window = DispatchWindow(2, 60.0)
    window.sent("a", 0.0, "", 3)
    window.claimed("a", 10.0)
    assert window.overdue(1000.0) == []
    window.unclaimed("a", 1000.0)
    window.unclaimed("a", 1050.0)
    window.unclaimed("unknown", 1050.0)
    assert window.overdue(1060.0) == []
    assert window.overdue(1060.5) == ["a"]
