"""The fold and the machine of requests, fact by fact."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from eldermesh.contract.claude_output import ClaudeEnd, OutcomeClass
from eldermesh.contract.deadletters import DeadLetterHeaders
from services.claude_exec.requests.fold import fold_request
from services.claude_exec.requests.machine import RequestMachine
from services.claude_exec.requests.spec import RequestSpec
from services.claude_exec.requests.state import RequestState
from shared.facts.claude import (
    ClaudeAccepted,
    ClaudeAnswered,
    ClaudeCancelRequested,
    ClaudeEnded,
    ClaudeInterrupted,
    ClaudeReplanned,
    ClaudeTerms,
    decode_claude_fact,
)
from shared.facts.fact import Fact, InboxRecord, TimerFired, UnreadableFactError
from shared.history.accepted_machine import AcceptedMachine
from shared.history.accepted_state import STUB_MS
from shared.history.chunk_id import ChunkId
from shared.history.facts import FactRecord
from shared.history.machine import DispatchDue, EndDue, Folded, MarkDue, TimerDue

REQUEST = "00000000-0000-0000-0000-0000000000aa"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
T0 = 1_790_000_000_000
MACHINE = RequestMachine()


def accepted(*, offset: int = 1, content: str = "one", expires_after_ms: int = 60_000) -> ClaudeAccepted:
    """A request that admission found valid."""
    return ClaudeAccepted(
        inbox=InboxRecord(topic="claude.requests", partition=0, offset=offset),
        inbox_key_base64="a2V5",
        inbox_headers_base64=(("x", "AAE="),),
        original=orjson.dumps({"prompt": "hi", "options": {"model": "m"}}).decode(),
        content_hash=content,
        terms=ClaudeTerms(tenant="default", labels={"a": "b"}, expires_after_ms=expires_after_ms, run_timeout_ms=1500),
        submitted_at=T0 - 5,
        trace_id=TRACE_ID,
        traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01",
        tracestate="a=b",
    )


def cancel(reason: str = "enough") -> ClaudeCancelRequested:
    """A cancel."""
    return ClaudeCancelRequested(inbox=InboxRecord(topic="claude.requests", partition=0, offset=50), reason=reason)


def answered(epoch: int = 1, outcome: OutcomeClass = "ok", **fields: Any) -> ClaudeAnswered:
    """A run's outcome."""
    return ClaudeAnswered(epoch=epoch, worker_id="w", outcome=outcome, output_records=3, **fields)


@dataclass(slots=True)
class Story:
    """The state after each fact; record times are milliseconds after `T0`."""

    state: RequestState | None = None
    at: int = 0
    offset: int = 0
    folded: list[Folded[RequestState]] = field(default_factory=list)

    def tell(self, *facts: Fact, at: int | None = None) -> Folded[RequestState]:
        """Fold facts, all at one time, and return what the last one made."""
        self.at = self.at if at is None else at
        for fact in facts:
            record = FactRecord(self.offset, T0 + self.at, REQUEST, fact.fact_type, fact.encode())
            self.folded.append(fold_request(self.state, record))
            self.state = self.folded[-1].state
            self.offset += 1
        return self.folded[-1]

    @property
    def request(self) -> RequestState:
        """The state, which is there."""
        assert self.state is not None
        return self.state

    @property
    def end(self) -> ClaudeEnd:
        """The end as it is published."""
        assert self.request.end is not None
        return ClaudeEnd.model_validate_json(self.request.end.value)

    @property
    def untouched(self) -> RequestState:
        """The state without what every fact moves."""
        return replace(self.request, t=0, last_offset=0)


@pytest.fixture
def story() -> Story:
    """A request that was accepted."""
    told = Story()
    told.tell(accepted())
    return told


def test_accepted_is_to_be_run(story: Story) -> None:
    """At once, without a decision; the runner gets prompt, options, limits."""
    chunk = ChunkId(REQUEST, 0, 1, 0, 0)
    assert MACHINE.due(story.request, T0) == (DispatchDue(chunk, 1),)
    assert MACHINE.chunks(story.request) == (chunk,)
    spec = RequestSpec.decode(story.folded[0].spec or b"")
    assert (spec.prompt, spec.options, spec.run_timeout_seconds, spec.stream) == ("hi", {"model": "m"}, 1.5, True)
    assert "hi" not in repr(spec)


def test_answered_is_the_end(story: Story) -> None:
    """It is published, then marked; nothing changes it."""
    story.tell(answered(result="fine", cost_micros=1500, run_ms=250), at=100)
    end = story.end
    assert (end.status, end.outcome, end.result, end.cost_usd, end.run_seconds) == (
        "completed",
        "ok",
        "fine",
        0.0015,
        0.25,
    )
    assert (end.attempt, end.output_records_total, end.labels) == (1, 3, {"a": "b"})
    (due,) = MACHINE.due(story.request, T0 + 100)
    assert isinstance(due, EndDue)
    assert (due.publication.topic, due.publication.key) == ("claude.output", REQUEST)
    assert MACHINE.is_ended(story.request)
    assert not MACHINE.is_settled(story.request)
    before = story.request.end
    story.tell(answered(outcome="timeout", error_type="timeout"), cancel(), TimerFired(timer_id=f"{REQUEST}:expires:1"))
    assert story.request.end == before
    mark = decode_claude_fact(due.mark.fact_type, due.mark.value)
    assert isinstance(mark, ClaudeEnded)
    story.tell(mark)
    assert MACHINE.due(story.request, T0 + 200) == ()
    assert MACHINE.is_settled(story.request)
    assert MACHINE.chunks(story.request) == ()


def test_a_failure(story: Story) -> None:
    """Every outcome but `ok` is `failed`, with the contract's word and the reason."""
    story.tell(answered(outcome="idle", error_type="idle", message="silent"))
    assert (story.end.status, story.end.outcome, story.end.error_type, story.end.reason) == (
        "failed",
        "idle",
        "idle",
        "silent",
    )


def test_first_in_the_log_wins(story: Story) -> None:
    """A repeat changes nothing, other content is a conflict for `jobs.dead`, before the end and after it."""
    for _ in range(2):
        before = story.untouched
        assert story.tell(accepted(offset=2)).conflict is None
        assert story.tell(accepted(content="other")).conflict is None  # the same inbox record, delivered again
        conflict = story.tell(accepted(offset=3, content="other")).conflict
        assert story.untouched == before
        assert conflict is not None
        provenance = DeadLetterHeaders.decode(conflict.headers)
        assert (provenance.error_type, provenance.topic, provenance.offset) == ("conflict", "claude.requests", 3)
        assert (conflict.topic, conflict.key, provenance.key) == ("jobs.dead", REQUEST, b"key")
        story.tell(answered(result="fine"))


def test_deaths(story: Story) -> None:
    """Each is a plan with a higher epoch; the third in a row is the end, which says so."""
    for deaths in (1, 2):
        assert MACHINE.replan(story.request, [ChunkId(REQUEST, 0, 99, 0, 0)]) == ()
        (plan,) = MACHINE.replan(story.request, [story.request.chunk])
        fact = decode_claude_fact(plan.fact_type, plan.value)
        assert fact == ClaudeReplanned(epoch=deaths + 1, replaced=str(story.request.chunk), deaths=deaths)
        story.tell(fact)
        assert MACHINE.due(story.request, T0) == (DispatchDue(ChunkId(REQUEST, 0, deaths + 1, 0, 0), deaths + 1),)
        before = story.untouched
        story.tell(fact)  # appended by two owners
        assert story.untouched == before
    (crash,) = MACHINE.replan(story.request, [story.request.chunk])
    story.tell(decode_claude_fact(crash.fact_type, crash.value))
    assert (story.end.status, story.end.outcome, story.end.error_type) == ("failed", "crashed", "crashed")
    assert story.end.output_records_total is None
    assert MACHINE.replan(story.request, [story.request.chunk]) == ()


def test_a_run_that_has_given_its_prompt_back_has_not_crashed(story: Story) -> None:
    """The owner took it for dead a third time; before that in the log the run itself says that nobody died."""
    story.tell(ClaudeReplanned(epoch=2, replaced="x", deaths=2))
    (crash,) = MACHINE.replan(story.request, [story.request.chunk])
    story.tell(ClaudeInterrupted(epoch=2, worker_id="w"))
    before = story.untouched
    story.tell(decode_claude_fact(crash.fact_type, crash.value))
    assert story.untouched == before
    earlier = answered(epoch=2, outcome="crashed")  # as an earlier release wrote it, or a run of its own CLI
    story.tell(earlier)
    assert story.end.outcome == "crashed"


def test_interrupted_is_no_death(story: Story) -> None:
    """The epoch goes up, the deaths do not; one of an older epoch says nothing."""
    story.tell(ClaudeInterrupted(epoch=1, worker_id="w"))
    assert (story.request.epoch, story.request.deaths) == (2, 0)
    before = story.untouched
    story.tell(ClaudeInterrupted(epoch=1, worker_id="w"))
    assert story.untouched == before


def test_an_outcome_of_an_old_epoch_counts(story: Story) -> None:
    """A runner that was taken for dead has finished first: that is the end, and names its attempt."""
    story.tell(ClaudeReplanned(epoch=2, replaced="x", deaths=1), answered(epoch=1, result="fine"))
    assert (story.end.status, story.end.attempt) == ("completed", 1)


def test_expiry(story: Story) -> None:
    """Only the armed timer, and only when its time has come by the log's clock."""
    assert MACHINE.wake_at(story.request) == T0 + 60_000
    (due,) = MACHINE.due(story.request, T0 + 60_000)
    assert isinstance(due, TimerDue)
    fired = decode_claude_fact(due.fact.fact_type, due.fact.value)
    before = story.untouched
    story.tell(fired, at=59_999)
    story.tell(TimerFired(timer_id=f"{REQUEST}:expires:2"), at=60_000)
    assert story.untouched == before
    story.tell(fired)
    assert (story.end.status, story.end.outcome, story.end.error_type) == ("failed", "expired", "expired")
    assert MACHINE.wake_at(story.request) is None


def test_a_cancel_before_its_request() -> None:
    """It waits a day, by the times of facts."""
    early, late = Story(), Story()
    early.tell(cancel("early"), at=0)
    assert MACHINE.due(early.request, T0) == ()
    assert MACHINE.is_settled(early.request)
    early.tell(accepted(), at=STUB_MS)
    assert (early.end.status, early.end.reason, early.end.attempt) == ("cancelled", "early", None)
    late.tell(cancel(), at=0)
    late.tell(accepted(), at=STUB_MS + 1)
    assert late.request.is_live


def test_times_never_go_back(story: Story) -> None:
    """The end's time is not before acceptance, whatever clock a broker had."""
    story.tell(cancel(), at=-5000)
    assert (story.end.status, story.end.ended_at) == ("cancelled", story.end.accepted_at)


def test_the_mark_alone_ends(story: Story) -> None:
    """Where the facts that led to it are gone, a request of the same content is still a repeat."""
    story.tell(answered(result="fine"))
    (due,) = MACHINE.due(story.request, T0)
    assert isinstance(due, EndDue)
    alone = Story()
    alone.tell(decode_claude_fact(due.mark.fact_type, due.mark.value))
    assert alone.end == story.end
    assert alone.tell(accepted(offset=9)).conflict is None
    assert alone.tell(accepted(offset=9, content="other")).conflict is not None
    assert MACHINE.due(alone.request, T0) == (MarkDue(due.mark),)


def test_a_repeat_behind_the_mark_has_the_mark_written_again(story: Story) -> None:
    """Else retention could leave the repeat alone in the log, and after a wipe the prompt would be run once more."""
    story.tell(answered(result="fine"))
    (due,) = MACHINE.due(story.request, T0)
    assert isinstance(due, EndDue)
    mark = decode_claude_fact(due.mark.fact_type, due.mark.value)
    story.tell(mark)
    assert MACHINE.is_settled(story.request)
    assert MACHINE.due(story.request, T0) == ()
    story.tell(accepted(offset=9))
    assert not MACHINE.is_settled(story.request)
    assert MACHINE.due(story.request, T0) == (MarkDue(due.mark),)
    assert MACHINE.decode(MACHINE.encode(story.request), b"") == story.request
    story.tell(mark)
    assert MACHINE.is_settled(story.request)
    assert MACHINE.due(story.request, T0) == ()


def test_a_settled_request_costs_nothing(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load asks all that there are: no end is written for those that need none."""
    story.tell(answered(result="fine"))
    (due,) = MACHINE.due(story.request, T0)
    assert isinstance(due, EndDue)
    story.tell(decode_claude_fact(due.mark.fact_type, due.mark.value))
    built: list[object] = []
    for name in ("end_record", "end_mark"):
        monkeypatch.setattr(AcceptedMachine, name, lambda *of: built.append(of))
    assert MACHINE.due(story.request, T0) == ()
    assert built == []


def test_a_state_is_read_back_as_it_was_written(story: Story) -> None:
    """At each stage of its life."""
    for fact in (ClaudeReplanned(epoch=2, replaced="x", deaths=1), answered(epoch=2, result={"a": [1]})):
        assert MACHINE.decode(MACHINE.encode(story.request), MACHINE.bitmap(story.request)) == story.request
        story.tell(fact)
    assert MACHINE.decode(MACHINE.encode(story.request), b"") == story.request


def test_what_is_no_fact_stops() -> None:
    """An unknown type, or wrong fields."""
    for fact_type, value in (("job.accepted", b"{}"), ("claude.answered", b"{}")):
        with pytest.raises(UnreadableFactError):
            fold_request(None, FactRecord(0, T0, REQUEST, fact_type, value))


def test_other_facts_of_an_unknown_request_are_nothing() -> None:
    """No state is made of them."""
    assert Story().tell(answered()).state is None


@pytest.mark.parametrize(("content", "counts"), [("one", True), (None, True), ("another", False)])
def test_an_answer_to_another_request_of_the_same_id_is_none(story: Story, content: str | None, counts: bool) -> None:  # noqa: FBT001
    """A run outlived its log; in the new one somebody asks something else under its id."""
    story.tell(answered(result="fine").model_copy(update={"content_hash": content}))
    assert (story.request.end is not None) is counts


@pytest.mark.parametrize(("content", "counts"), [("one", True), (None, True), ("another", False)])
def test_what_a_run_of_another_request_of_the_same_id_gives_back_is_not_ours(
    story: Story,
    content: str | None,
    counts: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Its epoch may be the one that ours has."""
    value = {"epoch": 1, "worker_id": "w"} | ({} if content is None else {"content_hash": content})
    story.tell(ClaudeInterrupted.model_validate(value))
    assert story.request.epoch == (2 if counts else 1)
