"""What makes a job, what repeats it, what contradicts it, and what ends it before it begins."""

from __future__ import annotations

import orjson
import pytest

from eldermesh.contract.deadletters import DeadLetterHeaders
from services.router.jobs.fold import fold_job
from services.router.jobs.machine import JobMachine
from shared.facts.fact import TimerFired, UnreadableFactError
from shared.facts.jobs import JobEnded, JobRouted
from shared.history.accepted_state import STUB_MS
from shared.history.facts import FactRecord
from tests.unit.jobs.story import DAY_MS, JOB, T0, TRACE_ID, Story, accepted, cancel, results, succeeded

MACHINE = JobMachine()
ROUTED = JobRouted(n=0, engine="celery", chunk_items=2, policy="static")


def test_the_first_submit_makes_the_job() -> None:
    """Its acceptance, its clock, its deadline, and what its runners need to know."""
    story = Story()
    folded = story.tell(accepted(4, labels={"team": "core"}), at=10)

    assert story.job.acceptance is not None
    assert (story.job.acceptance.at, story.job.acceptance.trace_id) == (T0 + 10, TRACE_ID)
    assert (story.job.items_total, story.job.active_since) == (4, T0 + 10)
    assert story.job.timers["expires"].due == T0 + 10 + 7 * DAY_MS
    assert folded.conflict is None
    assert folded.spec is not None
    spec = orjson.loads(folded.spec)
    assert spec["items"] == [0, 1, 2, 3]
    assert spec["options"] == {"function": "math:sqrt"}
    assert spec["labels"] == {"team": "core"}


@pytest.mark.parametrize("ended", [False, True])
def test_the_same_content_is_the_same_submit(ended: bool) -> None:  # noqa: FBT001 - a parameter of pytest's
    """A repeat from another inbox record changes nothing, whether the job has ended or not."""
    story = Story()
    story.tell(accepted())
    if ended:
        story.tell(cancel())
    before = story.untouched
    assert story.tell(accepted(offset=9)).conflict is None
    assert story.untouched == before


def test_the_same_inbox_record_is_the_same_submit() -> None:
    """Its content is compared by the version that read it first: another hash of one record is no conflict."""
    story = Story()
    story.tell(accepted())
    assert story.tell(accepted(content="hashed by another release")).conflict is None


@pytest.mark.parametrize("ended", [False, True])
def test_other_content_is_a_conflict(ended: bool) -> None:  # noqa: FBT001 - a parameter of pytest's
    """It becomes a dead letter with the original's bytes, key, headers and coordinates; the job does not notice."""
    story = Story()
    story.tell(accepted())
    if ended:
        story.tell(cancel())
    before = story.untouched
    other = accepted(2, offset=9, content="two")

    conflict = story.tell(other).conflict

    assert conflict is not None
    assert (conflict.topic, conflict.key, conflict.value) == ("jobs.dead", JOB, other.original.encode())
    letter = DeadLetterHeaders.decode(conflict.headers)
    assert (letter.topic, letter.partition, letter.offset, letter.error_type) == ("jobs", 0, 9, "conflict")
    assert letter.key == b"key"
    assert ("x", b"\x00\x01") in conflict.headers
    assert [name for name, _ in conflict.headers].count("dlq_reason") == 1
    assert story.untouched == before


def test_a_cancel_before_its_submit_ends_it_within_a_day_of_fact_times() -> None:
    """The submit is accepted and has its one end, at once; nothing is there to run."""
    story = Story()
    story.tell(cancel("not needed"), at=0)
    folded = story.tell(accepted(), at=STUB_MS)
    assert folded.spec is None
    assert (story.end["status"], story.end["error_type"], story.end["reason"]) == (
        "cancelled",
        "cancelled",
        "not needed",
    )
    assert (story.end["items_not_run"], story.end["accepted_at"]) == (4, story.end["ended_at"])


def test_a_cancel_older_than_a_day_does_not() -> None:
    """One millisecond more, by fact times, and the job lives; a later cancel of the stub counts anew."""
    story = Story()
    story.tell(cancel(), at=0)
    folded = story.tell(accepted(), at=STUB_MS + 1)
    assert folded.spec is not None
    assert story.job.is_live
    assert story.job.stub_at is None

    story = Story()
    story.tell(cancel("first"), at=0)
    story.tell(cancel("second"), at=1000)
    story.tell(accepted(), at=STUB_MS + 1)
    assert story.end["reason"] == "second"


@pytest.mark.parametrize("fact", [results(succeeded(0)), TimerFired(timer_id=f"{JOB}:expires:1")])
def test_other_facts_of_an_unknown_job_are_nothing(fact: TimerFired) -> None:
    """They make no state."""
    assert Story().tell(fact).state is None


def test_facts_of_a_stub_change_nothing() -> None:
    """A stub takes no decisions, timers or results."""
    story = Story()
    story.tell(cancel())
    before = story.untouched
    assert story.tell(results(succeeded(0))).progress is None
    story.tell(TimerFired(timer_id=f"{JOB}:expires:1"))
    assert story.untouched == before


def test_a_stub_gathers_no_costs_for_the_job_to_come() -> None:
    """Results of nobody's items came after a cancel; a day later a job of this id begins, and has cost nothing."""
    story = Story()
    story.tell(cancel(), results(succeeded(0, micros=5)).model_copy(update={"content_hash": "another"}), at=0)
    assert story.job.cost_keys == {}
    story.tell(accepted(max_cost_micros=6), at=STUB_MS + 1)
    assert (story.job.cost_micros, story.job.cost_keys) == (None, {})


def test_a_stub_keeps_the_costs_that_the_first_release_gave_it() -> None:
    """Its results name no content. It may have published the end with them, which must not come with another value."""
    story = Story()
    story.tell(cancel(), results(succeeded(0, micros=5)), accepted())
    assert story.end["cost_usd"] == 0.000005


def test_a_mark_ends_a_job_whose_facts_are_gone() -> None:
    """The fact itself ends the job: a repeat of its submit is a repeat, other content is a conflict."""
    story = Story()
    story.tell(accepted(), cancel())
    mark = JobEnded(
        content_hash="one",
        event_type="eldermesh.job.cancelled.v1",
        ended_at=T0,
        end=story.job.end.value if story.job.end else "",
        traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01",
    )
    later = Story()
    later.tell(mark)
    assert later.job.marked
    assert later.job.end is not None
    assert (later.job.end.status, later.job.end.value) == ("cancelled", mark.end)
    assert later.job.acceptance is not None
    assert later.job.acceptance.trace_id == TRACE_ID
    assert later.tell(accepted(offset=3)).conflict is None
    assert later.tell(accepted(offset=4, content="two")).conflict is not None

    alive = Story()
    alive.tell(accepted(), mark)
    assert alive.job.marked
    assert not alive.job.is_live

    stub = Story()
    stub.tell(cancel(), mark)
    assert stub.job.marked


def test_an_unknown_fact_stops_the_fold() -> None:
    """A record that no release of ours can have written is not folded past."""
    with pytest.raises(UnreadableFactError, match="unknown fact type"):
        fold_job(None, FactRecord(0, T0, JOB, "job.bewitched", b"{}"))
    with pytest.raises(UnreadableFactError, match=r"unreadable job\.routed"):
        fold_job(None, FactRecord(0, T0, JOB, "job.routed", b"{}"))


@pytest.mark.parametrize("cancelled_before_ms", [None, STUB_MS + 1], ids=["no cancel", "an old cancel"])
def test_the_mark_of_a_job_with_chunks_is_that_of_its_first_acceptance(cancelled_before_ms: int | None) -> None:
    """Repeats do not change it, nor whether a cancel that came long before is still in the log."""
    at = 2 * STUB_MS
    alone = Story()
    alone.tell(accepted(2), ROUTED, at=at)
    story = Story()
    if cancelled_before_ms is not None:
        story.tell(cancel(), at=at - cancelled_before_ms)
    story.tell(accepted(2), ROUTED, at=at)
    story.tell(accepted(2, offset=9), at=at + 1000)
    assert list(MACHINE.chunks(story.job))
    assert MACHINE.mark(story.job) == MACHINE.mark(alone.job)


@pytest.mark.parametrize("cancelled_after_ms", [-STUB_MS, 0, 5 * STUB_MS])
def test_a_cancel_that_would_change_the_mark_leaves_no_chunks(cancelled_after_ms: int) -> None:
    """Only a later time is clamped to, and such a cancel is less than a day old."""
    story = Story()
    story.tell(cancel(), at=6 * STUB_MS + cancelled_after_ms)
    story.tell(accepted(2), ROUTED, at=6 * STUB_MS)
    assert not list(MACHINE.chunks(story.job))
