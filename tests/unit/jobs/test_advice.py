"""Advice in the fold: the panel's word or the end of its time, whichever is first; and what the router adds itself."""

from __future__ import annotations

from services.router.jobs.advice import read_annex
from services.router.jobs.machine import JobMachine
from shared.facts.fact import TimerFired
from shared.facts.jobs import AdviceEntry, JobAdvised, JobHeld, JobPaused, JobRefused, JobReplanned, JobRouted
from shared.history.machine import DecisionDue, TimerDue
from tests.unit.jobs.story import JOB, T0, Story, accepted, cancel, decided

MACHINE = JobMachine()
LOW = AdviceEntry(sage="incident", status="ok", advice={"risk": "low"})
TASK = AdviceEntry(sage="task", status="ok", advice={"samples": 3})
PANEL_LATE = AdviceEntry(sage="panel", status="late")
ADVISED = JobAdvised(entries=(LOW, TASK))
LATE = TimerFired(timer_id=f"{JOB}:advise:1")


def asked(within_ms: int = 2000) -> Story:
    """A job whose advice is waited for."""
    story = Story()
    story.tell(accepted(4, advise_within_ms=within_ms))
    return story


def test_no_decision_before_the_advice() -> None:
    """The timer is all that is due, at its time; the advice disarms it, and the decision is due."""
    story = asked()
    assert list(MACHINE.due(story.job, T0 + 1999)) == []
    assert MACHINE.wake_at(story.job) == T0 + 2000
    (due,) = MACHINE.due(story.job, T0 + 2000)
    assert isinstance(due, TimerDue)
    assert due.timer_id == f"{JOB}:advise:1"
    story.tell(ADVISED, at=2500)
    assert story.job.advice == (LOW, TASK)
    assert list(MACHINE.due(story.job, T0 + 2500)) == [DecisionDue(0)]


def test_advice_after_its_time_is_void() -> None:
    """The timer is first in the log: what comes later changes nothing."""
    story = asked()
    story.tell(LATE, at=2000)
    before = story.untouched
    assert list(MACHINE.due(story.job, T0 + 2000)) == [DecisionDue(0)]
    story.tell(ADVISED, at=2001)
    assert story.untouched == before
    assert story.job.advice == ()


def test_the_timer_after_the_advice_is_void() -> None:
    """The other way round, as where two routers meet."""
    story = asked()
    story.tell(ADVISED, at=10)
    before = story.untouched
    story.tell(LATE, at=2000)
    assert story.untouched == before


def test_the_first_advice_stays() -> None:
    """A panel that is asked again says something else."""
    story = asked()
    story.tell(ADVISED, JobAdvised(entries=(AdviceEntry(sage="task", status="late"),)))
    assert story.job.advice == ADVISED.entries


def test_a_panel_without_sages() -> None:
    """No entries: nobody is waited for any longer."""
    story = asked()
    assert story.tell(JobAdvised(entries=())).annex is None
    assert list(MACHINE.due(story.job, T0)) == [DecisionDue(0)]


def test_a_timer_before_its_time_is_void() -> None:
    """By the log's clock, as for every timer."""
    story = asked()
    story.tell(LATE, at=1999)
    assert list(MACHINE.due(story.job, T0 + 1999)) == []


def test_nobody_was_asked() -> None:
    """Then a decision is due at once, and advice is void."""
    story = Story()
    story.tell(accepted(4))
    assert list(MACHINE.due(story.job, T0)) == [DecisionDue(0)]
    story.tell(ADVISED)
    assert story.job.advice == ()


def test_a_pause_while_advice_is_waited_for() -> None:
    """Both have to be over."""
    story = asked()
    story.tell(JobPaused(reason="quota", until=T0 + 9000), LATE, at=2000)
    assert list(MACHINE.due(story.job, T0 + 2000)) == []
    story.tell(TimerFired(timer_id=f"{JOB}:pause:1"), at=9000)
    assert list(MACHINE.due(story.job, T0 + 9000)) == [DecisionDue(0)]


def test_what_the_router_says_itself_is_added() -> None:
    """By each decision that counts; by others not."""
    story = asked()
    story.tell(LATE, at=2000)
    story.tell(JobHeld(n=0, reason="?", until=T0 + 9000, advice=(PANEL_LATE,)))
    story.tell(JobHeld(n=0, reason="?", until=T0 + 9000, advice=(TASK,)))
    assert list(story.job.advice) == [PANEL_LATE]
    story.tell(decided("approve"), JobRouted(n=1, engine="celery", chunk_items=2, policy="static", advice=(LOW,)))
    assert list(story.job.advice) == [PANEL_LATE, LOW]
    story.tell(JobRouted(n=2, engine="celery", chunk_items=2, policy="static", advice=(TASK,)))
    story.tell(JobReplanned(n=2, epoch=2, replaced=(), chunks=()))
    assert list(story.job.advice) == [PANEL_LATE, LOW]


def test_a_refusal_keeps_what_led_to_it() -> None:
    """An ended job still tells the advice."""
    story = asked()
    story.tell(JobAdvised(entries=(TASK,)), JobRefused(n=0, reason="risk critical", advice=(LOW,)))
    assert story.end["status"] == "rejected"
    assert story.job.advice == (TASK, LOW)


def test_the_annex_follows_the_advice() -> None:
    """Each fact that changes the advice of a live job brings all of it for the job's runs; no other fact does."""
    story = asked()
    assert story.folded[-1].annex is None
    assert read_annex(story.tell(ADVISED).annex) == (LOW, TASK)
    assert story.tell(LATE, at=2000).annex is None
    own = JobRouted(n=0, engine="celery", chunk_items=2, policy="static", advice=(PANEL_LATE,))
    assert read_annex(story.tell(own).annex) == (LOW, TASK, PANEL_LATE)
    assert story.tell(cancel()).annex is None
    assert read_annex(None) == ()


def test_no_annex_for_a_job_that_ends() -> None:
    """Nothing of it will run."""
    story = asked()
    story.tell(ADVISED)
    assert story.tell(JobRefused(n=0, reason="no", advice=(PANEL_LATE,))).annex is None
