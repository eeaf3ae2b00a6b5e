"""Deaths: those of an item alone are counted from when it was alone, and its end counts only while its chunk stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from services.router.jobs.chunk_series import Chunk
from services.router.jobs.machine import JobMachine
from shared.facts.fact import Fact, TimerFired
from shared.facts.jobs import ChunkInterrupted, ItemsCompleted, JobPaused, JobReplanned, JobRouted, decode_job_fact
from tests.unit.jobs.story import JOB, T0, Story, accepted, results, succeeded

MACHINE = JobMachine()


def job(items: int) -> Story:
    """A job with all of its items in one chunk."""
    story = Story()
    story.tell(
        accepted(items, max_failed_items=items), JobRouted(n=0, engine="celery", chunk_items=items, policy="static")
    )
    return story


def death(story: Story, place: int = 0) -> Sequence[Fact]:
    """What the owner appends when it finds the claim of a chunk of the plan dead."""
    chunk = story.job.chunk_id(story.plan[place])
    return [decode_job_fact(fact.fact_type, fact.value) for fact in MACHINE.replan(story.job, [chunk])]


def bisected() -> Story:
    """Four items whose chunk has died twice, and what is left of them: two chunks of two."""
    story = job(4)
    story.tell(*death(story))
    story.tell(*death(story))
    assert story.plan == (Chunk(3, 0, 1, 2), Chunk(3, 2, 3, 2))
    return story


def interrupted(story: Story) -> None:
    """A worker stops in order."""
    story.tell(ChunkInterrupted(chunk_id=str(story.job.chunk_id(story.plan[0])), worker_id="w"))


def met_a_quota(story: Story) -> None:
    """A run finds a quota used up, and the pause is over."""
    chunk_id = str(story.job.chunk_id(story.plan[0]))
    story.tell(JobPaused(reason="quota", until=T0 + story.at + 1000, chunk_id=chunk_id, item_index=1))
    story.tell(TimerFired(timer_id=f"{JOB}:pause:1"), at=story.at + 1000)


@pytest.mark.parametrize("stopped", [interrupted, met_a_quota])
def test_an_item_that_is_left_alone_by_an_orderly_stop_starts_anew(stopped: Callable[[Story], None]) -> None:
    """The two deaths were of a chunk with a neighbour; three more, of the item alone, end it, and not fewer."""
    story = bisected()
    story.tell(results(succeeded(0), epoch=3))
    stopped(story)
    assert story.plan[0] == Chunk(4, 1, 1, deaths=0)
    for _ in range(2):
        facts = death(story)
        assert [type(fact) for fact in facts] == [JobReplanned]
        story.tell(*facts)
    (crash,) = death(story)
    assert isinstance(crash, ItemsCompleted)
    assert crash.results[0].attempt == 3


def test_an_item_that_is_left_alone_by_results_before_its_plan_is_folded_starts_anew() -> None:
    """The plan names four items; when it is folded three of them are in, and the fourth has never been alone."""
    story = job(8)
    story.tell(*death(story))
    plan = death(story)
    story.tell(results(succeeded(0), succeeded(1), succeeded(2), epoch=2))
    story.tell(*plan)
    assert story.plan == (Chunk(3, 3, 3, 0), Chunk(3, 4, 7, 2))


def test_the_deaths_of_an_item_alone_outlast_an_orderly_stop() -> None:
    """It died alone twice; an interruption between is no death and takes none away."""
    story = job(1)
    for _ in range(2):
        story.tell(*death(story))
        interrupted(story)
    assert story.plan == (Chunk(5, 0, 0, deaths=2),)
    (crash,) = death(story)
    assert isinstance(crash, ItemsCompleted)


def test_the_deaths_of_a_chunk_that_still_has_two_items_stay() -> None:
    """Only what is alone starts anew."""
    story = job(4)
    story.tell(*death(story))
    story.tell(results(succeeded(0), succeeded(3), epoch=2))
    interrupted(story)
    assert story.plan == (Chunk(3, 1, 2, deaths=1),)


def dying_alone() -> Story:
    """One item that has died twice."""
    story = job(1)
    for _ in range(2):
        story.tell(*death(story))
    return story


def test_an_item_does_not_crash_once_its_chunk_was_given_back() -> None:
    """The owner took a run for dead; before its fact stands the word of the run itself, which nobody killed."""
    story = dying_alone()
    (crash,) = death(story)
    interrupted(story)
    before = story.untouched
    story.tell(crash)
    assert story.untouched == before
    assert story.plan == (Chunk(4, 0, 0, deaths=2),)


def test_an_item_does_not_crash_while_its_job_waits_for_quota() -> None:
    """The same, where the run met a quota."""
    story = dying_alone()
    (crash,) = death(story)
    chunk_id = str(story.job.chunk_id(story.plan[0]))
    story.tell(JobPaused(reason="quota", until=T0 + 1000, chunk_id=chunk_id, item_index=0))
    before = story.untouched
    story.tell(crash)
    assert story.untouched == before


def test_a_crash_as_earlier_releases_wrote_it_counts() -> None:
    """Their facts say nothing of the plan; what was published of them stays."""
    story = dying_alone()
    (crash,) = death(story)
    assert isinstance(crash, ItemsCompleted)
    earlier = crash.model_copy(update={"only_if_current": False})
    interrupted(story)
    story.tell(earlier)
    assert (story.end["status"], story.end["items_failed"]) == ("completed", 1)
    fact = earlier.model_dump(mode="json", exclude={"only_if_current"})
    assert not ItemsCompleted.model_validate(fact).only_if_current


def test_a_crash_and_the_plan_of_its_siblings_both_count() -> None:
    """Found in one look: the one ends its item, the other plans what is left."""
    story = job(2)
    story.tell(*death(story))
    story.tell(*death(story))
    for _ in range(2):
        story.tell(*death(story, 0))
    chunks = [story.job.chunk_id(chunk) for chunk in story.plan]
    facts = [decode_job_fact(fact.fact_type, fact.value) for fact in MACHINE.replan(story.job, chunks)]
    assert [type(fact) for fact in facts] == [ItemsCompleted, JobReplanned]
    story.tell(*facts)
    assert list(story.plan) == [Chunk(6, 1, 1, 1)]
    assert story.job.failed == 1
