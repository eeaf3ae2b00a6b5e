"""What a state calls for, as a function of the state and the time alone."""

from __future__ import annotations

import pytest

from services.router.jobs.chunk_series import Chunk
from services.router.jobs.machine import JobMachine
from shared.facts.jobs import ItemsCompleted, JobHeld, JobPaused, JobReplanned, JobRouted, decode_job_fact
from shared.history.accepted_machine import AcceptedMachine
from shared.history.chunk_id import ChunkId
from shared.history.machine import DecisionDue, DispatchDue, EndDue, NewFact, TimerDue
from tests.unit.jobs.story import DAY_MS, JOB, T0, Story, accepted, cancel, results, succeeded

MACHINE = JobMachine()
ROUTED = JobRouted(n=0, engine="celery", chunk_items=2, policy="static")


def kinds(story: Story, at: int = 0) -> list[str]:
    """What is due, by name."""
    return [type(due).__name__ for due in MACHINE.due(story.job, T0 + at)]


def dead(story: Story, *chunks: Chunk) -> list[ItemsCompleted | JobReplanned]:
    """The facts that take the place of dead chunks."""
    return [_decoded(new) for new in MACHINE.replan(story.job, [story.job.chunk_id(chunk) for chunk in chunks])]


def _decoded(new: NewFact) -> ItemsCompleted | JobReplanned:
    fact = decode_job_fact(new.fact_type, new.value)
    assert isinstance(fact, (ItemsCompleted, JobReplanned))
    return fact


def test_a_new_job_wants_a_decision() -> None:
    """It carries the number of decisions folded."""
    story = Story()
    story.tell(accepted(4))
    assert list(MACHINE.due(story.job, T0)) == [DecisionDue(0)]
    assert list(MACHINE.due(story.job, T0)) == [DecisionDue(0)], "level-triggered: asking changes nothing"


def test_a_routed_job_wants_its_chunks_dispatched() -> None:
    """All that stand in the plan, with the number of the attempt."""
    story = Story()
    story.tell(accepted(4), ROUTED)
    chunks = list(MACHINE.chunks(story.job))
    assert list(MACHINE.due(story.job, T0)) == [DispatchDue(chunk, 1, "celery") for chunk in chunks]
    assert chunks == [ChunkId(JOB, 0, 1, 0, 1), ChunkId(JOB, 0, 1, 2, 3)]


def test_a_held_or_paused_job_waits() -> None:
    """Neither decision nor dispatch, only the timer that ends it."""
    for fact in (JobHeld(n=0, reason="tools", until=T0 + 10), JobPaused(reason="quota", until=T0 + 10)):
        story = Story()
        story.tell(accepted(4), fact)
        assert kinds(story) == []
        assert MACHINE.wake_at(story.job) == T0 + 10
        (due,) = MACHINE.due(story.job, T0 + 10)
        assert isinstance(due, TimerDue)
        assert due.timer_id in {f"{JOB}:hold:1", f"{JOB}:pause:1"}


def test_an_end_is_due_until_it_is_marked() -> None:
    """Then nothing ever is, and the state may be forgotten in time."""
    story = Story()
    story.tell(accepted(4), cancel())
    (due,) = MACHINE.due(story.job, T0)
    assert isinstance(due, EndDue)
    assert MACHINE.is_ended(story.job)
    assert not MACHINE.is_settled(story.job)
    mark = decode_job_fact(due.mark.fact_type, due.mark.value)
    story.tell(mark)
    assert kinds(story, 10 * DAY_MS) == []
    assert MACHINE.is_settled(story.job)
    assert MACHINE.last_offset(story.job) == 2


def test_a_settled_job_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A load asks all that there are, hundred thousands perhaps: no end is written for those that need none."""
    story = Story()
    story.tell(accepted(4), cancel())
    (due,) = MACHINE.due(story.job, T0)
    assert isinstance(due, EndDue)
    story.tell(decode_job_fact(due.mark.fact_type, due.mark.value))
    built: list[object] = []
    for name in ("end_record", "end_mark"):
        monkeypatch.setattr(AcceptedMachine, name, lambda *of: built.append(of))
    assert kinds(story) == []
    assert built == []
    assert MACHINE.wake_at(story.job) is None


def test_a_stub_wants_nothing() -> None:
    """It waits for its submit, and goes with its facts."""
    story = Story()
    story.tell(cancel())
    assert kinds(story) == []
    assert MACHINE.is_settled(story.job)


def test_states_survive_redis() -> None:
    """What is written is what is read back; the bitmap lies beside it."""
    story = Story()
    story.tell(accepted(4, labels={"a": "b"}, active_timeout_ms=5), ROUTED, results(succeeded(0, micros=1)))
    story.tell(JobPaused(reason="quota", until=T0 + 10))
    raw = MACHINE.encode(story.job)
    assert MACHINE.decode(raw, MACHINE.bitmap(story.job)) == story.job


def test_a_chunk_that_died_once_is_run_again() -> None:
    """Only its missing items, under the next epoch, and it remembers the death."""
    story = Story()
    story.tell(accepted(4), ROUTED, results(succeeded(1)))
    (plan,) = dead(story, Chunk(1, 2, 3))
    assert isinstance(plan, JobReplanned)
    assert (plan.n, plan.epoch, plan.replaced) == (1, 2, (f"{JOB}/0/1/2-3",))
    assert [(c.first, c.last, c.deaths) for c in plan.chunks] == [(2, 3, 1)]
    story.tell(plan)
    assert list(MACHINE.due(story.job, T0))[1] == DispatchDue(ChunkId(JOB, 0, 2, 2, 3), 2, "celery")


def test_a_chunk_that_died_twice_is_bisected() -> None:
    """By its missing items; an item that is alone for the first time starts anew."""
    story = Story()
    story.tell(accepted(8), JobRouted(n=0, engine="celery", chunk_items=8, policy="static"))
    story.tell(*dead(story, Chunk(1, 0, 7)))
    story.tell(results(succeeded(1), succeeded(2)))
    (plan,) = dead(story, Chunk(2, 0, 7, 1))
    assert isinstance(plan, JobReplanned)
    assert [(c.first, c.last, c.deaths) for c in plan.chunks] == [(0, 4, 2), (5, 7, 2)]
    story.tell(plan)
    story.tell(results(succeeded(4), succeeded(5)))
    (plan,) = dead(story, Chunk(3, 0, 4, 2), Chunk(3, 5, 7, 2))
    assert isinstance(plan, JobReplanned)
    assert [(c.first, c.last, c.deaths) for c in plan.chunks] == [(0, 0, 0), (3, 3, 0), (6, 6, 0), (7, 7, 0)]


def test_the_last_missing_item_of_a_chunk_starts_anew() -> None:
    """Its neighbours may have been the cause of what happened before."""
    story = Story()
    story.tell(accepted(4), ROUTED, results(succeeded(0)))
    (plan,) = dead(story, Chunk(1, 0, 1))
    assert isinstance(plan, JobReplanned)
    assert [(c.first, c.last, c.deaths) for c in plan.chunks] == [(1, 1, 0)]


def test_an_item_that_kills_three_runs_has_crashed() -> None:
    """It ends as a result like any other, and its chunk is gone."""
    story = Story()
    story.tell(accepted(1, max_failed_items=1), JobRouted(n=0, engine="celery", chunk_items=1, policy="static"))
    for epoch in (1, 2):
        story.tell(*dead(story, Chunk(epoch, 0, 0, epoch - 1)))
    (crash,) = dead(story, Chunk(3, 0, 0, 2))
    assert isinstance(crash, ItemsCompleted)
    (result,) = crash.results
    assert (result.status, result.error_type, result.attempt, crash.worker_id) == ("failed", "crashed", 3, "router")
    story.tell(crash)
    assert (story.end["status"], story.end["items_failed"]) == ("completed", 1)


def test_nothing_takes_the_place_of_chunks_that_do_not_count() -> None:
    """Of a chunk that is not in the plan, of an ended job, of one that was never routed."""
    story = Story()
    story.tell(accepted(4))
    assert dead(story, Chunk(1, 0, 1)) == []
    story.tell(ROUTED)
    assert dead(story, Chunk(9, 0, 1)) == []
    story.tell(cancel())
    assert dead(story, Chunk(1, 0, 1)) == []
