"""The fold and the machine of notifications, fact by fact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from eldermesh.contract.deadletters import DeadLetterHeaders
from services.notifier.notifications.machine import NotificationMachine
from services.notifier.notifications.state import End, NotificationState
from shared.facts.fact import Fact, InboxRecord, TimerFired, UnreadableFactError
from shared.facts.notifications import (
    NotificationEnded,
    NotificationFailed,
    NotificationInterrupted,
    NotificationPlanned,
    NotificationPostponed,
    NotificationReplanned,
    NotificationSending,
    NotificationSent,
    decode_notification_fact,
)
from shared.history.chunk_id import ChunkId
from shared.history.facts import FactRecord
from shared.history.machine import DispatchDue, EndDue, MarkDue, TimerDue

ID = "00000000-0000-0000-0000-0000000000aa"
JOB = "00000000-0000-0000-0000-0000000000bb"
T0 = 1_790_000_000_000
MACHINE = NotificationMachine("t.notifications", 2)
EXPIRES = f"{ID}:expires:1"


def planned(title: str = "Job failed", **fields: Any) -> NotificationPlanned:
    """A message that a rule wants told."""
    values: dict[str, Any] = {
        "inbox": InboxRecord(topic="jobs.done", partition=0, offset=7),
        "job_id": JOB,
        "event": "end",
        "rule": "bad ends",
        "channel": "ops",
        "severity": "failure",
        "title": title,
        "body": "It failed.",
        "expires_at": T0 + 60_000,
        "max_attempts": 3,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=b",
    }
    return NotificationPlanned(**(values | fields))


def sending(epoch: int = 1, attempt: int = 1) -> NotificationSending:
    """A run begins to send."""
    return NotificationSending(epoch=epoch, attempt=attempt, worker_id="w")


def sent(epoch: int = 1, attempt: int = 1) -> NotificationSent:
    """The channel took it."""
    return NotificationSent(epoch=epoch, attempt=attempt, worker_id="w", detail="HTTP 200")


def postponed(epoch: int = 1, attempt: int = 1, after: int = 1000) -> NotificationPostponed:
    """The channel may take it later."""
    return NotificationPostponed(epoch=epoch, attempt=attempt, worker_id="w", until=T0 + after, reason="HTTP 503")


@dataclass(slots=True)
class Story:
    """The state after each fact; record times are milliseconds after `T0`."""

    state: NotificationState | None = None
    at: int = 0
    offset: int = 10

    def tell(self, *facts: Fact, at: int | None = None) -> NotificationState:
        """Fold facts, all at one time."""
        self.at = self.at if at is None else at
        for fact in facts:
            folded = MACHINE.fold(self.state, FactRecord(self.offset, T0 + self.at, ID, fact.fact_type, fact.encode()))
            assert folded.progress is None
            assert (folded.spec is not None) is (self.state is None and isinstance(fact, NotificationPlanned))
            self.state = folded.state
            self.offset += 1
        return self.now

    @property
    def now(self) -> NotificationState:
        """The state, which is there."""
        assert self.state is not None
        return self.state


@pytest.fixture
def story() -> Story:
    """A notification that was planned."""
    told = Story()
    told.tell(planned())
    return told


def test_planned_and_sent(story: Story) -> None:
    """A plan calls for one send, on a lane of its channel; what was sent is over and holds its message no more."""
    assert MACHINE.due(story.now, T0) == (DispatchDue(ChunkId(ID, 0, 1, 0, 0), 1, "ops"),)
    assert MACHINE.wake_at(story.now) == T0 + 60_000
    assert not MACHINE.is_ended(story.now)
    state = story.tell(sending(), sent(), at=5)
    assert (state.end, state.marked, state.planned, state.attempts) == (End("sent", T0 + 5, "HTTP 200"), True, None, 1)
    assert (MACHINE.due(state, T0 + 99_999), MACHINE.wake_at(state), MACHINE.chunks(state)) == ((), None, ())
    assert MACHINE.is_ended(state)
    assert MACHINE.is_settled(state)
    assert MACHINE.last_offset(state) == 12


def test_the_first_plan_counts(story: Story) -> None:
    """A second plan of the id, whatever it says, sends nothing: neither while it waits nor after its end."""
    state = story.tell(planned("Something else"), at=3)
    assert state.planned == planned()
    state = story.tell(sent(), planned("Once more"))
    assert (state.planned, MACHINE.chunks(state)) == (None, ())


@pytest.mark.parametrize("status", ["sent", "failed"])
def test_a_plan_after_the_end_has_a_mark_behind_it(story: Story, status: str) -> None:
    """The event is delivered again after the end; retention drops all that stands before that plan; Redis is wiped.

    Without a mark the message would be sent once more, or stand on `jobs.dead` though it was sent.
    """
    if status == "sent":
        state = story.tell(sending(), sent(), at=5)
    else:
        story.tell(NotificationFailed(worker_id="w", reason="no"), at=5)
        (end,) = MACHINE.due(story.now, T0)
        assert isinstance(end, EndDue)
        state = story.tell(decode_notification_fact(end.mark.fact_type, end.mark.value))
    assert (MACHINE.due(state, T0), MACHINE.is_settled(state)) == ((), True)
    state = story.tell(planned(), at=9)
    assert not MACHINE.is_settled(state)
    (due,) = MACHINE.due(state, T0 + 99_999)
    assert isinstance(due, MarkDue)
    mark = decode_notification_fact(due.mark.fact_type, due.mark.value)
    assert MACHINE.decode(MACHINE.encode(state), b"") == state

    rebuilt = Story()
    for told in (story, rebuilt):
        if told is rebuilt:
            told.tell(planned(), at=9)
        state = told.tell(mark)
        assert state.end == story.now.end
        assert state.end is not None
        assert state.end.status == status
        assert (MACHINE.due(state, T0 + 99_999), MACHINE.chunks(state)) == ((), ())
        assert MACHINE.is_settled(state)


def test_a_plan_between_the_end_and_its_mark_needs_no_other(story: Story) -> None:
    """The mark that is due anyway will stand behind it."""
    story.tell(NotificationFailed(worker_id="w", reason="no"), planned())
    (end,) = MACHINE.due(story.now, T0)
    assert isinstance(end, EndDue)
    state = story.tell(decode_notification_fact(end.mark.fact_type, end.mark.value))
    assert (MACHINE.due(state, T0), MACHINE.is_settled(state)) == ((), True)


def test_nothing_begins_without_a_plan() -> None:
    """Facts of an unknown notification are no-ops, except its mark."""
    story = Story()
    for fact in (sending(), sent(), postponed(), NotificationFailed(worker_id="w", reason="r")):
        record = FactRecord(1, T0, ID, fact.fact_type, fact.encode())
        assert MACHINE.fold(story.state, record).state is None
    state = story.tell(NotificationEnded(status="failed", ended_at=T0 - 5, reason="gone"))
    assert (state.end, state.marked) == (End("failed", T0 - 5, "gone"), True)
    assert MACHINE.due(state, T0) == ()


def test_postponed_until_its_timer(story: Story) -> None:
    """A postponed message leaves the plan until its timer has fired; then it is sent under another epoch."""
    state = story.tell(sending(), postponed())
    timer = f"{ID}:resume:1"
    assert (MACHINE.chunks(state), MACHINE.wake_at(state)) == ((), T0 + 1000)
    assert MACHINE.due(state, T0 + 999) == ()
    (due,) = MACHINE.due(state, T0 + 1000)
    assert isinstance(due, TimerDue)
    assert due.timer_id == timer
    fired = TimerFired(timer_id=timer)
    assert story.tell(fired, at=999).resume_at is not None, "before its time it is void"
    assert story.tell(TimerFired(timer_id=f"{ID}:resume:0"), at=1000).resume_at is not None, "of another arming"
    state = story.tell(fired)
    assert state.resume_at is None
    assert MACHINE.due(state, T0 + 1000) == (DispatchDue(ChunkId(ID, 0, 2, 0, 0), 1, "ops"),)
    assert story.tell(fired, at=2000) == replace(state, t=T0 + 2000, last_offset=state.last_offset + 1)


def test_a_postponement_of_another_run_is_void(story: Story) -> None:
    """Neither postponement, nor interruption, nor begin of an old epoch counts."""
    story.tell(NotificationInterrupted(epoch=1, worker_id="w"))
    before = story.now
    after = story.tell(postponed(1), sending(1, 9), NotificationInterrupted(epoch=1, worker_id="w"))
    assert replace(after, last_offset=before.last_offset) == before


def test_given_up(story: Story) -> None:
    """After the last attempt the message has failed; its dead letter is the plan, under the notification's id."""
    for attempt in (1, 2):
        state = story.tell(sending(attempt, attempt), postponed(attempt, attempt), at=attempt * 1000)
        assert state.end is None
        story.tell(TimerFired(timer_id=f"{ID}:resume:{attempt}"))
    state = story.tell(sending(3, 3), postponed(3, 3))
    assert state.end == End("failed", T0 + 2000, "given up after 3 attempts: HTTP 503")
    assert not MACHINE.is_settled(state)
    assert MACHINE.wake_at(state) is None
    (due,) = MACHINE.due(state, T0)
    assert isinstance(due, EndDue)
    assert due.publication is not None
    assert (due.publication.topic, due.publication.key) == ("jobs.dead", ID)
    assert due.publication.value == planned().encode()
    letter = DeadLetterHeaders.decode(due.publication.headers)
    assert (letter.topic, letter.partition, letter.offset) == ("t.notifications", 2, 10)
    assert letter.error_type == "internal"
    assert letter.reason == "rule bad ends, channel ops: given up after 3 attempts: HTTP 503"
    assert dict(due.publication.headers)["ce_subject"] == JOB.encode()
    mark = decode_notification_fact(due.mark.fact_type, due.mark.value)
    assert isinstance(mark, NotificationEnded)
    state = story.tell(mark)
    assert (state.marked, state.planned, state.end) == (True, None, End("failed", T0 + 2000, mark.reason))
    assert MACHINE.due(state, T0) == ()
    assert story.tell(mark, sent()).end == state.end


def test_attempts_that_a_crash_has_hidden_count(story: Story) -> None:
    """`sending` counts, though nobody said how it went."""
    story.tell(sending(1, 1), NotificationReplanned(epoch=2, replaced="x", deaths=1), sending(2, 2))
    assert story.now.attempts == 2
    assert story.tell(postponed(2, 2)).end is None
    story.tell(TimerFired(timer_id=f"{ID}:resume:1"), at=1000)
    assert story.tell(postponed(3, 3)).end is not None


def test_failed_for_good(story: Story) -> None:
    """What will never be taken has failed at once, and a later word does not change it."""
    state = story.tell(sending(), NotificationFailed(worker_id="w", reason="HTTP 404"), sent())
    assert state.end == End("failed", T0, "HTTP 404")


def test_expires(story: Story) -> None:
    """It is not tried for ever, postponed or not; a timer before its time is void."""
    story.tell(postponed(after=500_000))
    (due,) = MACHINE.due(story.now, T0 + 60_000)
    assert isinstance(due, TimerDue)
    assert due.timer_id == EXPIRES
    assert MACHINE.wake_at(story.now) == T0 + 60_000
    fired = TimerFired(timer_id=EXPIRES)
    assert story.tell(fired, at=59_999).end is None
    assert story.tell(fired, at=60_000).end == End("failed", T0 + 60_000, "it could not be sent in time")


def test_a_dead_run_is_sent_again(story: Story) -> None:
    """A dead claim raises the epoch; the third death in a row ends the message; claims of others raise nothing."""
    assert MACHINE.replan(story.now, [ChunkId(ID, 0, 9, 0, 0)]) == ()
    for death in (1, 2):
        (fact,) = MACHINE.replan(story.now, [story.now.chunk])
        story.tell(decode_notification_fact(fact.fact_type, fact.value))
        assert (story.now.epoch, story.now.deaths) == (death + 1, death)
    assert MACHINE.due(story.now, T0) == (DispatchDue(ChunkId(ID, 0, 3, 0, 0), 3, "ops"),)
    (fact,) = MACHINE.replan(story.now, [story.now.chunk])
    story.tell(decode_notification_fact(fact.fact_type, fact.value))
    assert story.now.end == End("failed", T0, "the notifier died 3 times while it sent this")
    assert MACHINE.replan(story.now, [story.now.chunk]) == ()
    before = story.now
    after = story.tell(NotificationReplanned(epoch=9, replaced="x", deaths=1))
    assert after.epoch == before.epoch


def test_a_run_that_was_broken_off_in_order_has_not_died(story: Story) -> None:
    """The owner took it for dead a third time; before that in the log the run itself says that nobody died."""
    story.tell(NotificationReplanned(epoch=2, replaced="x", deaths=2))
    (dead,) = MACHINE.replan(story.now, [story.now.chunk])
    story.tell(NotificationInterrupted(epoch=2, worker_id="w"))
    state = story.tell(decode_notification_fact(dead.fact_type, dead.value))
    assert (state.end, state.epoch) == (None, 3)
    state = story.tell(NotificationFailed(worker_id="w", reason="as an earlier release wrote it, or a run"))
    assert state.end is not None


def test_an_interruption_is_no_death(story: Story) -> None:
    """A run that was broken off in order is sent again under the next epoch, and nobody died."""
    state = story.tell(NotificationInterrupted(epoch=1, worker_id="w"))
    assert (state.epoch, state.deaths) == (2, 0)
    assert list(MACHINE.chunks(state)) == [state.chunk]


def test_a_replan_out_of_turn_is_void(story: Story) -> None:
    """A plan that does not follow the current epoch changes nothing."""
    assert story.tell(NotificationReplanned(epoch=3, replaced="x", deaths=1)).epoch == 1


def test_states_are_kept_as_they_are(story: Story) -> None:
    """Encoding loses nothing."""
    for state in (story.now, story.tell(postponed()), story.tell(NotificationFailed(worker_id="w", reason="r"))):
        assert MACHINE.decode(MACHINE.encode(state), MACHINE.bitmap(state)) == state


def test_a_foreign_fact_stops_the_fold() -> None:
    """Neither an unknown type nor wrong fields are folded past."""
    for fact_type, value in (("job.accepted", b"{}"), ("notification.sent", b"{}")):
        with pytest.raises(UnreadableFactError):
            MACHINE.fold(None, FactRecord(1, T0, ID, fact_type, value))


def test_the_mark_of_one_whose_facts_are_gone() -> None:
    """A mark alone is a notification that nothing is due of, without trace context."""
    machine = NotificationMachine("t", 0)
    state = replace(NotificationState(ID, t=T0, first_offset=1, last_offset=1), end=None)
    assert machine.due(state, T0) == ()
    assert machine.replan(state, [state.chunk]) == ()
