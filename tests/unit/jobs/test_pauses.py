"""Pauses and interruptions: a run that stopped in order gives its chunk back; no death, no retry."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from services.router.jobs.chunk_series import Chunk
from services.router.jobs.machine import JobMachine
from services.router.jobs.past_waits import MAX_WAITS
from shared.facts.fact import TimerFired
from shared.facts.jobs import ChunkInterrupted, JobPaused, JobReplanned, JobRouted
from shared.history.chunk_id import ChunkId
from shared.history.machine import DispatchDue
from tests.unit.jobs.story import JOB, T0, Story, accepted, cancel, failed, results, succeeded

MACHINE = JobMachine()
ROUTED = JobRouted(n=0, engine="celery", chunk_items=2, policy="static")
FIRST, SECOND = f"{JOB}/0/1/0-1", f"{JOB}/0/1/2-3"


def routed_job(**terms: Any) -> Story:
    """A job of four items in two chunks."""
    story = Story()
    story.tell(accepted(4, **terms), ROUTED)
    return story


def paused(until: int | None = None, chunk: str | None = FIRST, **fields: Any) -> JobPaused:
    """A runner's fact; times are milliseconds after `T0`."""
    return JobPaused(reason="quota", until=None if until is None else T0 + until, chunk_id=chunk, **fields)


def resume(story: Story, arming: int) -> None:
    """The pause's timer comes when it is due."""
    assert story.job.pause is not None
    story.tell(TimerFired(timer_id=f"{JOB}:pause:{arming}"), at=story.job.pause.until - T0)
    assert story.job.pause is None


def pause_length(story: Story) -> int:
    """How long the pause in force is."""
    assert story.job.pause is not None
    return story.job.pause.until - story.job.pause.since


def test_an_interrupted_chunk_is_another_chunk() -> None:
    """The next epoch, the same items, no death: the advance removes the claim, and the attempt is still the first."""
    story = routed_job()
    story.tell(ChunkInterrupted(chunk_id=SECOND, worker_id="w"))
    assert story.plan == (Chunk(1, 0, 1), Chunk(2, 2, 3))
    assert list(MACHINE.due(story.job, T0))[1] == DispatchDue(ChunkId(JOB, 0, 2, 2, 3), 1, "celery")


def test_only_what_is_missing_goes_back() -> None:
    """What the run has brought in before it stopped is in; deaths of runs before it stay."""
    story = Story()
    story.tell(accepted(4), JobRouted(n=0, engine="celery", chunk_items=4, policy="static"))
    (plan,) = MACHINE.replan(story.job, [ChunkId(JOB, 0, 1, 0, 3)])
    story.tell(JobReplanned.model_validate_json(plan.value))
    story.tell(results(succeeded(0), succeeded(3), epoch=2))
    story.tell(ChunkInterrupted(chunk_id=f"{JOB}/0/2/0-3", worker_id="w"))
    assert story.plan == (Chunk(3, 1, 2, deaths=1),)


@pytest.mark.parametrize("chunk", [FIRST, f"{JOB}/0/7/0-1", f"{JOB}/0/1/0-3", "nonsense"])
def test_a_chunk_that_is_not_current_stays_as_it_is(chunk: str) -> None:
    """A repeat, a run that was given up, a chunk of nobody: neither plan nor pause changes."""
    story = routed_job()
    story.tell(ChunkInterrupted(chunk_id=FIRST, worker_id="w"))
    before = story.untouched
    story.tell(ChunkInterrupted(chunk_id=chunk, worker_id="w"), paused(5000, chunk), paused(None, chunk))
    assert story.untouched == before


def test_a_plan_that_was_made_before_the_interruption_is_void() -> None:
    """The owner asked for it when it thought the run dead; it looks again."""
    story = routed_job()
    (plan,) = MACHINE.replan(story.job, [ChunkId(JOB, 0, 1, 0, 1)])
    story.tell(ChunkInterrupted(chunk_id=FIRST, worker_id="w"))
    before = story.untouched
    story.tell(JobReplanned.model_validate_json(plan.value))
    assert story.untouched == before


def test_a_pause_gives_the_chunk_back_and_waits() -> None:
    """Nothing is dispatched until its time has come, then everything is, as the first attempt."""
    story = routed_job()
    story.tell(paused(5000), at=1000)
    assert (story.job.active_ms, story.job.active_since) == (1000, None)
    assert list(MACHINE.due(story.job, T0 + 1000)) == []
    resume(story, 1)
    assert [due for due in MACHINE.due(story.job, T0 + 5000) if isinstance(due, DispatchDue)] == [
        DispatchDue(ChunkId(JOB, 0, 2, 0, 1), 1, "celery"),
        DispatchDue(ChunkId(JOB, 0, 1, 2, 3), 1, "celery"),
    ]
    (past,) = story.job.waits
    assert (past.kind, past.since, past.ended_at, past.outcome) == ("pause", T0 + 1000, T0 + 5000, None)
    story.tell(results(*(succeeded(index) for index in range(4))), at=6000)
    assert story.end["active_seconds"] == 2


def test_chunks_that_meet_the_limit_together_make_one_pause() -> None:
    """The latest time counts; each of them goes back."""
    story = routed_job()
    story.tell(paused(5000), paused(8000, SECOND), at=1000)
    assert story.plan == (Chunk(2, 0, 1), Chunk(3, 2, 3))
    assert (pause_length(story), story.job.pauses) == (7000, 1)
    resume(story, 2)
    assert len(story.job.waits) == 1


def test_a_time_that_is_over_is_no_pause() -> None:
    """The chunk goes back all the same."""
    story = routed_job()
    story.tell(paused(1000), at=1000)
    assert story.job.pause is None
    assert story.plan[0] == Chunk(2, 0, 1)


def test_unknown_times_double_until_an_item_ends() -> None:
    """And never exceed the longest; a chunk that joins a pause makes it no longer."""
    story = Story()
    story.tell(accepted(3), JobRouted(n=0, engine="celery", chunk_items=1, policy="static"))
    lengths = []
    for number in range(5):
        chunk = str(story.job.chunk_id(story.plan[0]))
        story.tell(paused(None, chunk, first_ms=1000, longest_ms=6000))
        other = str(story.job.chunk_id(story.plan[1]))
        story.tell(paused(None, other, first_ms=1000, longest_ms=6000), at=story.at + 10)
        lengths.append(pause_length(story))
        resume(story, 2 * (number + 1))
    assert lengths == [1000, 2000, 4000, 6000, 6000]
    story.tell(results(succeeded(2)))
    story.tell(paused(None, str(story.job.chunk_id(story.plan[0])), first_ms=1000, longest_ms=6000))
    assert pause_length(story) == 1000


def test_many_pauses_in_a_row() -> None:
    """The doubling has an end, and the state remembers so many waits."""
    story = Story()
    story.tell(accepted(1), JobRouted(n=0, engine="celery", chunk_items=1, policy="static"))
    for number in range(MAX_WAITS + 5):
        story.tell(paused(None, str(story.job.chunk_id(story.plan[0])), first_ms=1, longest_ms=50))
        resume(story, number + 1)
    assert len(story.job.waits) == MAX_WAITS
    assert story.job.pauses == MAX_WAITS + 5


def test_what_the_paused_item_has_cost_counts_once() -> None:
    """By the same key as a result of that run would have."""
    story = routed_job()
    spent: dict[str, Any] = {"item_index": 0, "attempt": 1, "cost_micros": 70}
    story.tell(paused(5000, **spent), paused(5000, **spent))
    story.tell(results(succeeded(0, micros=30), epoch=1), results(succeeded(0, micros=30), epoch=2))
    assert story.job.cost_micros == 100
    story.tell(paused(6000, f"{JOB}/0/2/0-1", item_index=1, cost_micros=1))
    assert story.job.cost_micros == 101


def test_a_pause_can_cost_too_much() -> None:
    """Then the job ends instead of waiting."""
    story = routed_job(max_cost_micros=60)
    story.tell(paused(5000, item_index=0, cost_micros=70))
    assert (story.end["error_type"], story.end["cost_usd"]) == ("budget", 0.00007)


def test_facts_of_ended_jobs_change_nothing() -> None:
    """Neither pauses nor interruptions."""
    story = routed_job()
    story.tell(paused(5000), cancel())
    assert [wait.kind for wait in story.job.waits] == ["pause"]
    before = story.untouched
    story.tell(paused(9000, SECOND), ChunkInterrupted(chunk_id=SECOND, worker_id="w"))
    assert story.untouched == before


def test_a_failed_item_ends_the_doubling_too() -> None:
    """The API has answered."""
    story = routed_job(max_failed_items=1)
    story.tell(paused(None, first_ms=1000))
    resume(story, 1)
    story.tell(results(failed(2)))
    assert story.job.pauses == 0


@pytest.mark.parametrize(("content", "counts"), [("one", True), (None, True), ("another", False)])
@pytest.mark.parametrize(
    "fact",
    [ChunkInterrupted(chunk_id=FIRST, worker_id="w"), paused(5000), paused(None, cost_micros=7, item_index=0)],
    ids=["interrupted", "paused until then", "paused at a cost"],
)
def test_what_a_run_of_another_job_of_the_same_id_gives_back_is_not_ours(
    fact: ChunkInterrupted | JobPaused,
    content: str | None,
    counts: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A run outlived its log; chunks of the job that has its id now may have the same names. Its pause is its own."""
    story = routed_job()
    before = story.untouched
    value = orjson.loads(fact.encode()) | {"content_hash": content}
    story.tell(type(fact).model_validate(value))
    assert (story.untouched != before) is counts


def test_facts_of_earlier_releases_name_no_content() -> None:
    """They count as they did."""
    for fact in (ChunkInterrupted(chunk_id=FIRST, worker_id="w"), paused(5000)):
        story = routed_job()
        value = orjson.loads(fact.encode())
        value.pop("content_hash", None)
        story.tell(type(fact).model_validate(value))
        assert story.plan[0] == Chunk(2, 0, 1)
