"""Decisions are numbered: what their owner had folded decides whether they count."""

from __future__ import annotations

from typing import Any

import pytest

from eldermesh.contract.deadletters import DeadLetterHeaders
from services.router.jobs.chunk_series import Chunk
from shared.facts.fact import TimerFired
from shared.facts.jobs import (
    AdviceEntry,
    JobAdvised,
    JobHeld,
    JobPaused,
    JobRefused,
    JobReplanned,
    JobRouted,
    PlannedChunk,
)
from tests.unit.jobs.story import JOB, T0, Story, accepted, cancel, decided, failed, results, succeeded

ROUTED = JobRouted(n=0, engine="celery", chunk_items=2, policy="static")
HELD = JobHeld(n=0, reason="tools", until=T0 + 1000)
REFUSED = JobRefused(n=0, reason="policy")


def routed_job(**terms: Any) -> Story:
    """A job of four items in two chunks."""
    story = Story()
    story.tell(accepted(4, **terms), ROUTED)
    return story


def test_the_first_route_makes_the_plan() -> None:
    """Equal chunks over all items, under epoch 1."""
    story = routed_job()
    assert (story.job.engine, story.job.epoch, story.job.decisions) == ("celery", 1, 1)
    assert story.plan == (Chunk(1, 0, 1), Chunk(1, 2, 3))


def test_a_route_leaves_out_what_is_in() -> None:
    """Results that came before (of a plan whose facts were repeated) are not planned again."""
    story = Story()
    story.tell(accepted(4), results(succeeded(0), succeeded(2), succeeded(3)), ROUTED)
    assert story.plan == (Chunk(1, 1, 1),)


@pytest.mark.parametrize(
    "fact", [ROUTED, HELD, REFUSED, REFUSED.model_copy(update={"n": 1}), HELD.model_copy(update={"n": 1})]
)
def test_nothing_but_a_plan_counts_after_the_route(fact: JobRouted | JobHeld | JobRefused) -> None:
    """A late route, hold or refusal, with an old n or the right one, changes nothing."""
    story = routed_job()
    before = story.untouched
    story.tell(fact)
    assert story.untouched == before


def test_a_second_route_with_the_right_number_changes_nothing() -> None:
    """The first one wins."""
    story = routed_job()
    before = story.untouched
    story.tell(ROUTED.model_copy(update={"n": 1, "chunk_items": 1}))
    assert story.untouched == before


def test_no_route_before_the_items_are_counted() -> None:
    """A job whose items are not ingested has no plan."""
    story = Story()
    story.tell(accepted(None), ROUTED)
    assert story.job.engine is None
    story.tell(cancel())
    assert (story.end["items_total"], story.end["items_not_run"]) == (None, None)


def test_a_refusal_rejects() -> None:
    """Nothing ran, and nothing will."""
    story = Story()
    story.tell(accepted(4), REFUSED)
    assert (story.end["status"], story.end["error_type"], story.end["reason"]) == ("rejected", "rejected", "policy")
    assert (story.end["items_not_run"], story.end["engine"]) == (4, None)


def test_a_hold_waits_for_a_person() -> None:
    """It stops the clock, arms its timer, and only a decision or the timer ends it; a route does not."""
    story = Story()
    story.tell(accepted(4), at=0)
    story.tell(HELD, at=100)
    assert story.is_held()
    assert (story.job.active_ms, story.job.active_since) == (100, None)
    story.tell(ROUTED.model_copy(update={"n": 1}))
    story.tell(HELD.model_copy(update={"n": 1}))
    assert story.job.engine is None
    assert story.job.decisions == 1

    story.tell(decided("approve"), at=500)
    assert not story.is_held()
    assert story.job.approved
    assert "hold" not in story.job.timers
    assert story.job.active_since == T0 + 500


def test_a_decision_counts_once_and_only_on_a_hold() -> None:
    """The same command delivered again does not decide the next hold; one that came too early counts for nothing."""
    story = Story()
    story.tell(accepted(4), decided("approve", offset=1))
    story.tell(HELD, decided("approve", offset=2), HELD.model_copy(update={"n": 1}))
    assert story.is_held()
    story.tell(decided("reject", offset=2))
    assert story.is_held()
    story.tell(decided("reject", offset=3))
    assert (story.end["status"], story.end["error_type"], story.end["reason"]) == (
        "rejected",
        "denied",
        "rejected by ann",
    )


def test_who_submitted_cannot_decide() -> None:
    """Their decision becomes a dead letter, and the job goes on waiting for somebody else's."""
    story = Story()
    letter = story.tell(accepted(4, submitted_by="ann"), HELD, decided("approve", by="ann")).conflict
    assert story.is_held()
    assert letter is not None
    assert (letter.topic, letter.key, letter.value) == ("jobs.dead", JOB, b'{"a": "command"}')
    headers = DeadLetterHeaders.decode(letter.headers)
    assert (headers.topic, headers.offset, headers.error_type) == ("jobs", 60, "invalid")
    assert "cannot decide" in headers.reason
    assert story.tell(decided("reject", by="ann")).conflict is None, "the same command, delivered twice"
    story.tell(decided("reject", by="bob", reason="too dear", offset=61))
    assert story.end["reason"] == "too dear"


def test_nobody_decides() -> None:
    """The hold's timer rejects."""
    story = Story()
    story.tell(accepted(4), HELD)
    story.tell(TimerFired(timer_id=f"{JOB}:hold:1"), at=1000)
    assert (story.end["status"], story.end["error_type"]) == ("rejected", "denied")


@pytest.mark.parametrize("facts", [(HELD,), (JobPaused(reason="quota", until=T0 + 9000),), (ROUTED,), ()])
def test_a_cancel_ends_a_job_in_whatever_state(facts: tuple[JobHeld | JobPaused | JobRouted, ...]) -> None:
    """Held, paused, routed or new."""
    story = Story()
    story.tell(accepted(4), *facts, cancel())
    assert story.end["status"] == "cancelled"
    assert (story.plan, story.job.bitmap, story.job.timers, story.job.hold) == ((), b"", {}, None)


def replan(*chunks: tuple[int, int], replaced: tuple[str, ...], n: int = 1, epoch: int = 2) -> JobReplanned:
    """A new plan."""
    planned = tuple(PlannedChunk(first=first, last=last, deaths=1) for first, last in chunks)
    return JobReplanned(n=n, epoch=epoch, replaced=replaced, chunks=planned)


def test_a_plan_replaces_dead_chunks_and_leaves_their_siblings() -> None:
    """The sibling keeps its epoch, which is its fencing token."""
    story = routed_job()
    story.tell(replan((0, 1), replaced=(f"{JOB}/0/1/0-1",)))
    assert story.plan == (Chunk(2, 0, 1, 1), Chunk(1, 2, 3))
    assert (story.job.epoch, story.job.decisions) == (2, 2)


def test_a_plan_drops_items_that_are_in_meanwhile() -> None:
    """Results between the owner's look and its plan are not run again."""
    story = routed_job()
    story.tell(results(succeeded(0)))
    story.tell(replan((0, 0), (1, 1), replaced=(f"{JOB}/0/1/0-1",)))
    assert story.plan == (Chunk(2, 1, 1, 1), Chunk(1, 2, 3))


@pytest.mark.parametrize(
    "fact",
    [
        replan((0, 1), replaced=(f"{JOB}/0/1/0-1",), n=0),
        replan((0, 1), replaced=(f"{JOB}/0/1/0-1",), epoch=5),
    ],
    ids=["old n", "wrong epoch"],
)
def test_a_plan_of_somebody_who_is_behind_changes_nothing(fact: JobReplanned) -> None:
    """Two owners that saw the same dead chunk make one plan."""
    story = routed_job()
    before = story.untouched
    story.tell(fact)
    assert story.untouched == before


def test_a_plan_that_forgets_items_replaces_nothing() -> None:
    """A chunk gives way only to ranges that hold all of its missing items; strange chunks are ignored."""
    story = routed_job()
    story.tell(replan((0, 0), replaced=(f"{JOB}/0/1/0-1", f"{JOB}/0/9/0-1")))
    assert story.plan == (Chunk(1, 0, 1), Chunk(1, 2, 3))


def test_no_plan_before_the_route() -> None:
    """There is nothing to replace."""
    story = Story()
    story.tell(accepted(4), replan((0, 1), replaced=(), n=0, epoch=1))
    assert story.plan == ()


def test_facts_after_the_end_change_nothing() -> None:
    """The end is built once."""
    story = routed_job(max_failed_items=0)
    story.tell(results(failed(0)))
    before = story.untouched
    story.tell(ROUTED, HELD, REFUSED, cancel(), JobPaused(reason="quota", until=T0))
    story.tell(results(succeeded(1)), JobAdvised(entries=(AdviceEntry(sage="rag", status="ok"),)))
    assert story.untouched == before
