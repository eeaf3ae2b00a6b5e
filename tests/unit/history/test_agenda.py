"""What an owner has to ask, and what it has asked for already."""

from __future__ import annotations

from shared.history.agenda import Agenda


def test_what_is_on_its_way_is_not_asked_for_again() -> None:
    """Until the fold has passed the offset where it was appended."""
    agenda = Agenda()
    assert agenda.may_ask("x", 5, 0.0)
    agenda.asked("x", 7)
    assert not agenda.may_ask("x", 7, 0.0)
    assert agenda.may_ask("x", 8, 0.0)
    agenda.asked("x", 9)
    agenda.forget_passed(9, 0.0)
    assert not agenda.may_ask("x", 9, 0.0)
    agenda.forget_passed(10, 0.0)
    assert agenda.may_ask("x", 9, 0.0)


def test_what_is_postponed_waits() -> None:
    """For a time of the monotonic clock; afterwards nothing of it is kept."""
    agenda = Agenda()
    agenda.postpone("x", 10.0)
    agenda.postpone("y", 10.0)
    agenda.forget_passed(0, 9.0)
    assert not agenda.may_ask("x", 0, 9.9)
    assert agenda.may_ask("x", 0, 10.0)
    agenda.forget_passed(0, 10.0)
    assert agenda.may_ask("y", 0, 0.0)


def test_alarms_wake_their_subjects_once() -> None:
    """At their latest time; one that was taken back or moved does not ring."""
    agenda = Agenda()
    agenda.attend("now")
    agenda.wake("a", 100)
    agenda.wake("a", 100)
    agenda.wake("b", 50)
    agenda.wake("b", 200)
    agenda.wake("c", 60)
    agenda.wake("c", None)
    assert agenda.next_wake() == 50
    assert agenda.take(99) == {"now"}
    assert agenda.take(100) == {"a"}
    assert agenda.take(100) == set()
    assert agenda.take(1000) == {"b"}
    assert agenda.next_wake() is None


def test_superseded_alarms_do_not_pile_up() -> None:
    """A job's deadline is days away when the job ends: its alarm goes long before."""
    agenda = Agenda()
    for number in range(5000):
        agenda.wake(f"job-{number}", 10**9 + number)
        agenda.wake(f"job-{number}", None)
    agenda.wake("last", 5)
    agenda.forget_passed(0, 0.0)
    assert agenda.next_wake() == 5
    assert agenda.take(10**12) == {"last"}
    assert agenda.next_wake() is None
