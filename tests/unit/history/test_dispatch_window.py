"""The dispatch window."""

from __future__ import annotations

from shared.history.dispatch_window import DispatchWindow


def test_room_is_for_chunks_that_stand_in_a_plan() -> None:
    """Sent chunks take it, finished and replaced ones give it back; too many leave none."""
    window = DispatchWindow(2, 60.0)
    window.sent("a", 0.0)
    assert (window.taken(), len(window), "a" in window, "b" in window) == ({"": 1}, 1, True, False)
    window.claimed("b", 0.0)
    window.claimed("c", 0.0)
    window.sent("d", 0.0, "ray")
    assert window.taken() == {"": 3, "ray": 1}
    window.drop(["a", "b", "unknown"])
    assert window.chunks() == ["c", "d"]
    window.claimed("d", 1.0)
    assert window.taken() == {"": 1, "ray": 1}


def test_a_chunk_without_a_claim_is_overdue_after_the_time_out() -> None:
    """Sent again, it has twice the time, so that a long queue is not filled with copies; at most sixteen times."""
    window = DispatchWindow(2, 60.0)
    window.sent("a", 0.0)
    assert window.overdue(60.0) == []
    assert window.overdue(60.5) == ["a"]
    now = 61.0
    for doubled in (2, 4, 8, 16, 16):
        window.sent("a", now)
        assert window.overdue(now + 60.0 * doubled) == []
        now += 60.0 * doubled + 1
        assert window.overdue(now) == ["a"]


def test_a_claim_that_vanished_starts_the_wait() -> None:
    """After a wipe: the heartbeat that will re-create it may be under way."""
    window = DispatchWindow(2, 60.0)
    window.sent("a", 0.0)
    window.claimed("a", 10.0)
    assert window.overdue(1000.0) == []
    window.unclaimed("a", 1000.0)
    window.unclaimed("a", 1050.0)
    window.unclaimed("unknown", 1050.0)
    assert window.overdue(1060.0) == []
    assert window.overdue(1060.5) == ["a"]
