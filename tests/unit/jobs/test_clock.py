"""Job time: holds and pauses stop it, published times never go back, and only the armed timer counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.router.jobs import clock
from shared.facts.fact import TimerFired
from shared.facts.jobs import JobHeld, JobPaused, JobRouted
from tests.unit.jobs.story import JOB, T0, Story, accepted, cancel, decided, results, succeeded

ROUTED = JobRouted(n=0, engine="celery", chunk_items=2, policy="static")


def fired(name: str, arming: int = 1) -> TimerFired:
    """A timer's fact."""
    return TimerFired(timer_id=f"{JOB}:{name}:{arming}")


def pause(until: int) -> JobPaused:
    """A pause until so many milliseconds after `T0`."""
    return JobPaused(reason="quota", until=T0 + until)


def test_the_active_time_out() -> None:
    """Counted from acceptance; a record time before it is void."""
    story = Story()
    story.tell(accepted(4, active_timeout_ms=1000), ROUTED, at=0)
    story.tell(fired("active"), at=999)
    assert story.job.is_live
    story.tell(fired("active"), at=1000)
    assert (story.end["status"], story.end["error_type"], story.end["active_seconds"]) == ("failed", "timeout", 1)
    assert story.end["items_not_run"] == 4


def test_a_pause_stops_the_clock_and_ends_by_its_timer() -> None:
    """What is left of the time-out is armed anew, under another number; the old one is void for ever."""
    story = Story()
    story.tell(accepted(4, active_timeout_ms=1000), ROUTED, at=0)
    story.tell(pause(5000), at=400)
    assert (story.job.active_ms, story.job.active_since) == (400, None)
    assert set(story.job.timers) == {"expires", "pause"}
    story.tell(fired("active"), at=4000)
    assert story.job.is_live
    story.tell(fired("pause"), at=5000)
    assert story.job.pause is None
    assert (story.job.timers["active"].arming, story.job.timers["active"].due) == (2, T0 + 5600)
    story.tell(fired("active", 1), at=9000)
    assert story.job.is_live
    story.tell(fired("active", 2), at=9000)
    assert story.end["error_type"] == "timeout"


def test_a_longer_pause_supersedes_a_shorter_one() -> None:
    """The deadline moves, the first timer no longer counts; a shorter pause shortens nothing."""
    story = Story()
    story.tell(accepted(4), ROUTED, at=0)
    story.tell(pause(1000), at=100)
    story.tell(pause(5000), at=200)
    story.tell(fired("pause", 1), at=6000)
    assert story.job.pause is not None
    assert story.job.pause.since == T0 + 100
    story.tell(pause(2000))
    assert story.job.timers["pause"].due == T0 + 5000
    story.tell(fired("pause", 2), at=6000)
    assert story.job.pause is None


def test_a_pause_within_a_hold() -> None:
    """The clock starts again only when neither holds the job."""
    story = Story()
    story.tell(accepted(4), at=0)
    story.tell(JobHeld(n=0, reason="tools", until=T0 + 9000), at=100)
    story.tell(pause(2000), at=200)
    story.tell(decided("approve"), at=500)
    assert story.active_since() is None
    story.tell(fired("pause"), at=2000)
    assert (story.job.active_ms, story.active_since()) == (100, T0 + 2000)


def test_expiry_does_not_care_for_holds() -> None:
    """Wall clock from acceptance."""
    story = Story()
    story.tell(accepted(4, expires_after_ms=1000), at=0)
    story.tell(JobHeld(n=0, reason="tools", until=T0 + 9000), at=100)
    story.tell(fired("expires"), at=1000)
    assert (story.end["status"], story.end["error_type"], story.end["active_seconds"]) == ("failed", "expired", 0.1)


def test_times_never_go_back() -> None:
    """Record times that do are clamped by the job's own latest, which is part of its state."""
    story = Story()
    story.tell(accepted(4), ROUTED, at=1000)
    folded = story.tell(results(succeeded(0), succeeded(1)), at=200)
    assert folded.progress is not None
    assert ("ce_time", b"2026-09-21T14:13:21.000Z") in folded.progress.headers
    story.tell(cancel(), at=300)
    assert (story.end["ended_at"], story.end["active_seconds"]) == (story.end["accepted_at"], 0)


@pytest.mark.parametrize("timer", ["unknown:1", "expires:9", "expires"])
def test_strange_timers_are_void(timer: str) -> None:
    """A name or an arming that is not armed."""
    story = Story()
    story.tell(accepted(4), at=0)
    before = story.untouched
    story.tell(TimerFired(timer_id=f"{JOB}:{timer}"), at=10**12)
    assert story.untouched == before


def test_a_timer_that_only_a_later_release_knows_is_void() -> None:
    """It is armed, it is due, and this release has no meaning for it."""
    story = Story()
    story.tell(accepted(4), at=0)
    story.state = clock.arm(story.job, "siesta", T0)
    before = story.untouched
    story.tell(fired("siesta"), at=10)
    assert story.untouched == before


def test_starting_and_stopping_twice_changes_nothing() -> None:
    """The clock of a job that runs is not started again, nor stopped when it stands."""
    story = Story()
    story.tell(accepted(4), at=0)
    assert clock.start_clock(story.job) is story.job
    stopped = clock.stop_clock(story.job)
    assert clock.stop_clock(stopped) is stopped
    assert clock.disarm(stopped, "hold") is stopped
    assert clock.start_clock(replace(stopped, terms=None)).active_since is None
