"""Holds: who is told what on `jobs.holds`, whose decision counts, and what remains of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.holds import JobHold
from eldermesh.contract.record_form import read_hold
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.times import format_time
from services.router.jobs.holds import MAX_DECIDED
from services.router.jobs.machine import JobMachine
from shared.facts.fact import TimerFired
from shared.facts.jobs import JobAccepted, JobEnded, JobHeld, JobRouted
from shared.history.machine import Folded
from tests.unit.jobs.story import DAY_MS, JOB, T0, TRACE_ID, Story, accepted, cancel, decided, results, succeeded

HELD = JobHeld(n=0, reason="may write files", until=T0 + 9000, remind_at=T0 + 3000)


def fired(name: str, arming: int = 1) -> TimerFired:
    """A timer's fact."""
    return TimerFired(timer_id=f"{JOB}:{name}:{arming}")


def held_job(**terms: Any) -> Story:
    """A job that is held a second after its acceptance."""
    story = Story()
    story.tell(accepted(4, **terms), at=0)
    story.tell(HELD, at=1000)
    return story


def announced(folded: Folded[Any]) -> tuple[str, JobHold]:
    """The id and the content of the one event of a fact."""
    (event,) = folded.announcements
    assert (event.topic, event.key) == ("jobs.holds", JOB)
    value = orjson.loads(event.value)
    record = PublicRecord(event.topic, 0, 0, event.key.encode(), tuple(event.headers), event.value)
    hold, problems = read_hold(record)
    assert hold is not None
    assert problems == []
    assert value == hold.model_dump(mode="json")
    return header_text(event.headers, "ce_id") or "", hold


def test_a_hold_is_announced_with_all_that_deciding_needs() -> None:
    """Who submitted what, why it is held, and until when; two timers are armed."""
    story = Story()
    story.tell(accepted(4, submitted_by="ann", labels={"team": "core"}), at=0)
    event_id, hold = announced(story.tell(HELD, at=1000))

    assert event_id == f"{JOB}:hold:1"
    assert (hold.submitted_by, hold.labels, hold.workload) == ("ann", {"team": "core"}, "python")
    assert (hold.reason, hold.held_at, hold.until) == (
        "may write files",
        format_time(T0 + 1000),
        format_time(T0 + 9000),
    )
    assert (hold.outcome, hold.by, hold.trace_id, hold.recorded_at) == (None, None, TRACE_ID, hold.held_at)
    assert {name: timer.due - T0 for name, timer in story.job.timers.items() if name != "expires"} == {
        "hold": 9000,
        "remind": 3000,
    }


def test_a_reminder_comes_once() -> None:
    """When its time has come and nobody has decided; the hold itself stays as it is."""
    story = held_job()
    assert story.tell(fired("remind"), at=2999).announcements == ()
    event_id, hold = announced(story.tell(fired("remind"), at=3000))
    assert (event_id, hold.outcome, hold.recorded_at) == (f"{JOB}:hold:1:reminder", None, format_time(T0 + 3000))
    assert story.tell(fired("remind"), at=3001).announcements == ()
    assert story.is_held()


@pytest.mark.parametrize("remind_at", [None, 9000, 9999])
def test_no_reminder_where_it_would_come_too_late(remind_at: int | None) -> None:
    """Or where none was wanted."""
    story = Story()
    remind = None if remind_at is None else T0 + remind_at
    story.tell(accepted(4), HELD.model_copy(update={"remind_at": remind}), at=0)
    assert set(story.job.timers) == {"expires", "hold"}


def test_an_approval_lets_the_job_go_on() -> None:
    """The wait does not count as its time, both timers are gone, and the state says who it was."""
    story = held_job()
    event_id, hold = announced(story.tell(decided("approve", by="bob", reason="looks fine"), at=5000))

    assert event_id == f"{JOB}:hold:1:ended"
    assert (hold.outcome, hold.by, hold.decision_reason) == ("approved", "bob", "looks fine")
    assert (hold.held_at, hold.recorded_at) == (format_time(T0 + 1000), format_time(T0 + 5000))
    assert set(story.job.timers) == {"expires"}
    assert (story.job.approved, story.job.active_ms, story.job.active_since) == (True, 1000, T0 + 5000)
    (past,) = story.job.waits
    assert (past.kind, past.since, past.ended_at, past.outcome) == ("hold", T0 + 1000, T0 + 5000, "approved")
    assert (past.by, past.decision) == ("bob", "jobs/0/60")
    assert story.tell(fired("hold"), at=9000).announcements == ()
    story.tell(JobRouted(n=1, engine="celery", chunk_items=4, policy="static"), at=9000)
    story.tell(results(*(succeeded(index) for index in range(4))), at=10_000)
    assert (story.end["status"], story.end["active_seconds"]) == ("completed", 6)


@pytest.mark.parametrize(
    ("fact", "at", "outcome", "error_type"),
    [
        (decided("reject", by="bob", reason="no"), 5000, "rejected", "denied"),
        (fired("hold"), 9000, "timed_out", "denied"),
        (cancel(), 5000, "job_ended", "cancelled"),
        (fired("expires"), 7 * DAY_MS, "job_ended", "expired"),
    ],
)
def test_a_hold_that_ends_with_its_job(fact: Any, at: int, outcome: str, error_type: str) -> None:
    """The event says how the hold ended, the end on `jobs.done` how the job did."""
    story = held_job()
    event_id, hold = announced(story.tell(fact, at=at))
    assert (event_id, hold.outcome, hold.hold) == (f"{JOB}:hold:1:ended", outcome, 1)
    assert (story.end["error_type"], story.end["active_seconds"]) == (error_type, 1)
    assert story.job.waits[-1].outcome == outcome
    assert story.tell(fact, at=at).announcements == ()


def test_results_can_end_a_held_job() -> None:
    """Those of a run that nobody knows of: one fact, a progress record, an end, and the end of the hold."""
    story = held_job()
    folded = story.tell(results(*(succeeded(index) for index in range(4))))
    assert folded.progress is not None
    assert announced(folded)[1].outcome == "job_ended"


def test_a_mark_alone_ends_a_hold() -> None:
    """The fact that ends a job whatever was folded of it."""
    story = held_job()
    mark = JobEnded(
        content_hash="one", event_type="eldermesh.job.cancelled.v1", ended_at=T0, end="{}", traceparent=f"00-{TRACE_ID}"
    )
    assert announced(story.tell(mark))[1].outcome == "job_ended"


def test_a_second_hold_has_a_number_of_its_own() -> None:
    """Its events are others than those of the first."""
    story = held_job()
    story.tell(decided("approve"))
    second = HELD.model_copy(update={"n": 1})
    assert announced(story.tell(second))[0] == f"{JOB}:hold:2"
    assert announced(story.tell(decided("reject", offset=61)))[0] == f"{JOB}:hold:2:ended"


@pytest.mark.parametrize("before", [(), (HELD, cancel()), (HELD, decided("approve", offset=59))])
def test_a_decision_on_a_job_that_is_not_held_is_a_dead_letter(before: tuple[Any, ...]) -> None:
    """Too early, after the end, or the second of two people: the sender is told, once."""
    story = Story()
    story.tell(accepted(4), *before)
    is_live = story.job.is_live
    letter = story.tell(decided("reject", by="bob")).conflict
    assert letter is not None
    headers = DeadLetterHeaders.decode(letter.headers)
    assert (headers.error_type, headers.offset) == ("conflict", 60)
    assert "does not wait for a decision" in headers.reason
    assert story.job.is_live == is_live
    story.tell(HELD.model_copy(update={"n": story.job.decisions}))
    assert story.tell(decided("reject", by="bob")).conflict is None
    assert story.job.is_live == is_live, "what was refused once does not count later"


def test_the_command_that_counted_is_no_conflict_when_it_comes_again() -> None:
    """Not even after the end that it made."""
    story = held_job()
    assert story.tell(decided("reject")).conflict is None
    assert story.tell(decided("reject")).conflict is None


def test_decisions_on_unknown_jobs_and_stubs_are_nothing() -> None:
    """There is no job whose state could say so."""
    story = Story()
    assert story.tell(decided("approve")).conflict is None
    assert story.state is None
    story.tell(cancel())
    assert story.tell(decided("approve")).conflict is None


def test_a_job_remembers_so_many_commands() -> None:
    """Whoever sends thousands of them does not make its state grow."""
    story = Story()
    story.tell(accepted(4), *(decided("approve", offset=1000 + number) for number in range(MAX_DECIDED + 5)))
    assert len(story.job.decided) == MAX_DECIDED
    assert story.job.decided[-1] == f"jobs/0/{1000 + MAX_DECIDED + 4}"


def test_a_command_that_is_delivered_again_after_a_thousand_others_is_still_known() -> None:
    """It is no second dead letter, and approves no later hold; another one of the same partition does."""
    story = Story()
    story.tell(accepted(4), *(decided("approve", offset=1000 + number) for number in range(1000)))
    story.tell(HELD)
    for offset in (1000, 1500, 1999):
        assert story.tell(decided("approve", offset=offset)).conflict is None
    assert story.is_held()
    story.tell(decided("approve", offset=2000))
    assert not story.is_held()


def test_an_old_offset_of_another_partition_is_another_command() -> None:
    """Offsets are of a partition."""
    story = Story()
    story.tell(accepted(4), *(decided("approve", offset=1000 + number) for number in range(MAX_DECIDED + 1)), HELD)
    other = decided("approve", offset=1)
    story.tell(other.model_copy(update={"inbox": other.inbox.model_copy(update={"partition": 1})}))
    assert not story.is_held()


def test_what_is_told_is_a_function_of_the_facts() -> None:
    """A second fold of the same facts, by a state that was in Redis in between, has the same bytes."""
    machine = JobMachine()
    facts: list[Any] = [accepted(4, labels={"b": "1", "a": "2"}), HELD, fired("remind"), decided("approve", reason="é")]

    def told(*, through_redis: bool) -> list[tuple[bytes, Any]]:
        story, events = Story(), []
        for number, fact in enumerate(facts):
            if through_redis and story.state is not None:
                story.state = machine.decode(machine.encode(story.state), story.state.bitmap)
            folded = story.tell(fact, at=number * 3000)
            events += [(event.value, event.headers) for event in folded.announcements]
        return events

    assert isinstance(facts[0], JobAccepted)
    assert told(through_redis=False) == told(through_redis=True)
    assert len(told(through_redis=False)) == 3
