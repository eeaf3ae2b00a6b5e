"""One run of a chunk, over played claims and a played history: in which order it does what."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import orjson
import pytest
from pydantic import JsonValue

from services.router.engines.chunks.task import ChunkOutcome
from services.router.engines.python.item_host.outputs import describe
from shared.errors import RetryableError, StillRunningError
from shared.facts.jobs import JobPaused, decode_job_fact
from shared.history.runs.claims import ClaimRefusal, Renewal
from shared.settings import Settings
from shared.workloads import (
    ItemCall,
    ItemFailed,
    ItemOutcome,
    ItemSucceeded,
    PauseJobError,
    Queue,
    RunContext,
)
from tests.unit.engines.played_chunk import LEASE_SECONDS, SPEC, TASK, results_of, runner
from tests.unit.refusing_claims import RefusingClaims
from tests.unit.runs import MovedClock, PlayedClaims
from tests.waiting import wait_until


@dataclass(slots=True)
class PlayedWorkload:
    """Its items take what `seconds` says of the clock that is moved, and what `start_seconds` says before they begin.

    Attributes:
        may_stop: an item that is broken off ends only then.
        stays: items do not end by themselves.
        opening: what opening a run raises, one after another.
        closing, killing: what these raise.
        gives: what comes of an item, or what it raises.
        raises: what single items raise first, each in order.
    """

    clock: MovedClock
    seconds: Sequence[float] = (0.0, 0.0, 0.0)
    start_seconds: float = 0.0
    stays: bool = False
    may_stop: asyncio.Event = field(default_factory=asyncio.Event)
    began: list[int] = field(default_factory=list)
    opening: deque[BaseException] = field(default_factory=deque)
    closing: BaseException | None = None
    killing: BaseException | None = None
    gives: ItemOutcome | BaseException = field(default_factory=lambda: ItemSucceeded(b"1", duration_seconds=0.0))
    raises: dict[int, deque[BaseException]] = field(default_factory=dict)
    name: str = "played"
    queue: Queue = "batch_tasks"
    flush_each_item: bool = False
    _context: RunContext | None = None

    def validate(self, options: Mapping[str, JsonValue], items: Sequence[JsonValue] | None, settings: Settings) -> None:
        """Anything goes."""

    @asynccontextmanager
    async def open(self, context: RunContext) -> AsyncIterator[PlayedWorkload]:
        """It is its own run."""
        if self.opening:
            raise self.opening.popleft()
        self._context = context
        yield self
        if self.closing is not None:
            raise self.closing

    async def close(self) -> None:
        """Nothing is kept."""

    def kill(self) -> None:
        """Items are broken off by cancelling them."""
        if self.killing is not None:
            raise self.killing

    async def item(self, call: ItemCall) -> ItemOutcome:
        """Run one."""
        assert self._context is not None
        self.clock.seconds += self.start_seconds
        self._context.check_claim()
        self.began.append(call.index)
        self.clock.seconds += self.seconds[call.index]
        if self.stays:
            try:
                await asyncio.Event().wait()
            finally:
                await self.may_stop.wait()
        if self.raises.get(call.index):
            raise self.raises[call.index].popleft()
        if isinstance(self.gives, BaseException):
            raise self.gives
        return self.gives


async def test_the_claim_is_done_after_the_last_result_is_in_the_history() -> None:
    """A runner that is killed between the two leaves a claim that dies, not one that says that nothing is missing."""
    claims = PlayedClaims(missing=(0, 1, 2))
    outcome = await asyncio.wait_for(runner(claims, PlayedWorkload(MovedClock())).run(TASK), 60.0)
    assert outcome is ChunkOutcome.DONE
    steps = [call for call in claims.calls if call not in ("renew", "spec")]
    assert steps == ["claim", "items.completed", "items.completed", "finish"]
    assert [orjson.loads(fact)["content_hash"] for fact in claims.facts] == ["abc", "abc"]


async def test_only_what_the_claim_says_is_missing_is_run() -> None:
    """The others have their results."""
    workload = PlayedWorkload(MovedClock())
    await asyncio.wait_for(runner(PlayedClaims(missing=(1,)), workload).run(TASK), 60.0)
    assert workload.began == [1]


async def test_no_item_begins_on_a_lease_that_lapsed_between_two_items() -> None:
    """The process stood still while an item ran; the run ends without asking, and the next item is another run's."""
    claims = PlayedClaims(missing=(0, 1, 2))
    workload = PlayedWorkload(MovedClock(), seconds=(LEASE_SECONDS, 0.0, 0.0))
    outcome = await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0)
    assert (outcome, workload.began) == (ChunkOutcome.KILLED, [0])
    assert "finish" not in claims.calls


async def test_no_item_begins_on_a_lease_that_lapsed_while_it_was_started() -> None:
    """Between the renewal and the effect lies the start of what the item needs; the lease is checked after that."""
    claims = PlayedClaims(missing=(0, 1, 2))
    workload = PlayedWorkload(MovedClock(), start_seconds=LEASE_SECONDS)
    outcome = await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0)
    assert (outcome, workload.began) == (ChunkOutcome.KILLED, [])
    assert "finish" not in claims.calls


async def test_the_claim_is_held_until_the_item_has_stopped() -> None:
    """A worker is told to stop, and the item takes its time: the interruption is said last, and no death is near."""
    claims = PlayedClaims(missing=(0,))
    workload = PlayedWorkload(MovedClock(), stays=True)
    chunks = runner(claims, workload)
    running = asyncio.create_task(chunks.run(TASK))
    await wait_until(lambda: workload.began, description="an item runs")
    chunks.interrupt()
    await asyncio.sleep(0)
    renewed = claims.renewed
    await wait_until(
        lambda: claims.renewed > renewed + 3,
        description="the claim is renewed while the item stops",
    )
    assert claims.calls.count("chunk.interrupted") == 0
    workload.may_stop.set()
    assert await asyncio.wait_for(running, 60.0) is ChunkOutcome.GIVEN_BACK
    assert claims.calls[-1] == "chunk.interrupted"
    assert orjson.loads(claims.facts[-1])["content_hash"] == "abc"


async def test_a_pause_says_of_what_job_it_is() -> None:
    """Another job may have the same id, and chunks of the same names."""
    claims = PlayedClaims(missing=(0, 1, 2))
    workload = PlayedWorkload(MovedClock(), gives=PauseJobError("busy"))
    assert await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0) is ChunkOutcome.GIVEN_BACK
    assert "job.paused" in claims.calls
    assert orjson.loads(claims.facts[-1])["content_hash"] == "abc"


async def _suspended_run(claims: PlayedClaims) -> ChunkOutcome:
    """What becomes of a run whose machine is suspended for longer than its lease while an item runs."""
    workload = PlayedWorkload(MovedClock(), stays=True)
    workload.may_stop.set()
    running = asyncio.create_task(runner(claims, workload).run(TASK))
    await wait_until(lambda: workload.began, description="an item runs")
    workload.clock.suspend(LEASE_SECONDS + 1.0)
    return await asyncio.wait_for(running, 60.0)


async def test_a_run_whose_machine_was_suspended_gives_its_chunk_back() -> None:
    """Its lease has lapsed; nobody has died. Redis is asked first whose the chunk is, when nothing runs any more."""
    claims = PlayedClaims(missing=(0, 1, 2))
    assert await _suspended_run(claims) is ChunkOutcome.GIVEN_BACK
    assert claims.calls[-2:] == ["renew", "chunk.interrupted"]


async def test_a_run_whose_machine_was_suspended_is_silent_when_another_has_its_chunk() -> None:
    """Giving it back would take it from that one."""

    class TakenAway(PlayedClaims):
        async def renew(self, *arguments: Any, **named: Any) -> Renewal:
            await super().renew(*arguments, **named)
            return Renewal.CLAIM_LOST if clock.asleep else Renewal.HELD

    clock = MovedClock()
    claims = TakenAway(missing=(0, 1, 2))
    workload = PlayedWorkload(clock, stays=True)
    workload.may_stop.set()
    running = asyncio.create_task(runner(claims, workload).run(TASK))
    await wait_until(lambda: workload.began, description="an item runs")
    clock.suspend(LEASE_SECONDS + 1.0)
    assert await asyncio.wait_for(running, 60.0) is ChunkOutcome.KILLED
    assert "chunk.interrupted" not in claims.calls


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such model"),
        OSError(errno.EACCES, "denied"),
        SystemExit(3),
        KeyboardInterrupt(),
        PauseJobError("busy"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_workload_that_cannot_be_opened_fails_its_items_with_the_reason(error: BaseException) -> None:
    """At once: a run that died of it would come again, and say `crashed` in the end."""
    claims, workload = PlayedClaims(missing=(0, 1, 2)), PlayedWorkload(MovedClock(), opening=deque([error]))
    outcome = await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0)
    assert (outcome, workload.began) == (ChunkOutcome.DONE, [])
    results = results_of(claims)
    assert [(result["item_index"], result["error_type"]) for result in results] == [(n, "internal") for n in range(3)]
    assert all(describe(error) in result["error_message"] for result in results)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "no space left"), MemoryError(), RuntimeError("can't start new thread")],
    ids=lambda error: type(error).__name__,
)
async def test_a_workload_that_has_no_room_is_opened_again(error: BaseException) -> None:
    """What has run out may be there a moment later; the claim is held meanwhile, and no death is counted."""
    claims, workload = PlayedClaims(missing=(0, 1, 2)), PlayedWorkload(MovedClock(), opening=deque([error, error]))
    outcome = await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0)
    assert (outcome, workload.began) == (ChunkOutcome.DONE, [0, 1, 2])
    assert [result["status"] for result in results_of(claims)] == ["succeeded"] * 3


async def test_a_chunk_whose_specification_cannot_be_read_for_long_runs() -> None:
    """Redis refuses to read for 24 s while it renews: the claim is held, and no death is counted."""
    claims, workload = PlayedClaims(missing=(0, 1, 2)), PlayedWorkload(MovedClock())
    claims.unread.extend([partial(workload.clock.move, 6.0)] * 4)
    outcome = await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0)
    assert (outcome, claims.calls.count("spec"), workload.began) == (ChunkOutcome.DONE, 5, [0, 1, 2])


async def test_a_workload_that_cannot_be_closed_keeps_its_results() -> None:
    """They are in; what the workload leaves behind is told."""
    for error in (ValueError("no"), RetryableError("later"), SystemExit(1)):
        claims, workload = PlayedClaims(missing=(0, 1, 2)), PlayedWorkload(MovedClock(), closing=error)
        outcome = await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0)
        assert outcome is ChunkOutcome.DONE
        assert [result["status"] for result in results_of(claims)] == ["succeeded"] * 3
        assert claims.calls[-1] == "finish"


async def test_a_workload_that_cannot_kill_does_not_end_its_runner() -> None:
    """The item is cancelled all the same, and the interruption is said."""
    claims, workload = (
        PlayedClaims(missing=(0, 1, 2)),
        PlayedWorkload(MovedClock(), stays=True, killing=OSError("gone")),
    )
    workload.may_stop.set()
    engine = runner(claims, workload)
    running = asyncio.create_task(engine.run(TASK))
    await wait_until(lambda: workload.began, description="an item runs")
    engine.interrupt()
    assert await asyncio.wait_for(running, 60.0) is ChunkOutcome.GIVEN_BACK
    assert claims.calls[-1] == "chunk.interrupted"


@pytest.mark.parametrize(
    "gives",
    [
        cast("ItemOutcome", None),
        ItemSucceeded(cast("bytes", "text")),
        ItemSucceeded(cast("bytes", None)),
        ItemSucceeded(b"1", duration_seconds=float("nan")),
        ItemSucceeded(b"1", cost_micros=cast("int", "dear")),
        ItemSucceeded(b"1", cost_micros=-1),
        ItemSucceeded(b"1", cost_micros=2**70),
        ItemSucceeded(b"1", attempt=2**70),
        ItemSucceeded(b"1", attempt=-1),
        ItemSucceeded(b"1", duration_seconds=1e300),
        ItemFailed(cast("Any", ["no word"]), "why"),
        ItemFailed("exception", cast("str", 5)),
        SystemExit(2),
        KeyboardInterrupt(),
        asyncio.CancelledError("a part of the plug-in was cancelled"),
    ],
    ids=[
        "nothing",
        "output is text",
        "output is nothing",
        "seconds are no number",
        "cost is text",
        "cost is below nothing",
        "cost is beyond all",
        "attempt is beyond all",
        "attempt is below all",
        "seconds are beyond all",
        "error type is a list",
        "message is a number",
        "sys.exit",
        "KeyboardInterrupt",
        "cancelled within",
    ],
)
async def test_an_outcome_that_is_none_fails_its_item(gives: ItemOutcome | BaseException) -> None:
    """A plug-in's mistake costs its item alone, with a reason."""
    claims, workload = PlayedClaims(missing=(1,)), PlayedWorkload(MovedClock(), gives=gives)
    outcome = await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0)
    assert outcome is ChunkOutcome.DONE
    (result,) = results_of(claims)
    assert (result["item_index"], result["status"], result["error_type"]) == (1, "failed", "internal")
    assert result["error_message"]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 10**400, 40 * 86400, cast("float", "5")])
async def test_a_plug_in_does_not_pause_its_job_for_ever(seconds: float) -> None:
    """A time that cannot be one was not said: the job goes on after a pause of our own."""
    workload = PlayedWorkload(MovedClock(), gives=PauseJobError("busy", resume_seconds=seconds))
    claims = PlayedClaims(missing=(0,))
    outcome = await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0)
    assert outcome is ChunkOutcome.GIVEN_BACK
    fact = orjson.loads(claims.facts[-1])
    assert (fact["reason"], fact.get("until"), fact.get("resume_ms")) == ("busy", None, None)


async def test_an_item_that_needs_what_does_not_answer_is_asked_again() -> None:
    """A disk that is full for a moment costs no attempt: the claim is held meanwhile, and nobody has died."""
    claims = PlayedClaims(missing=(0, 1, 2))
    workload = PlayedWorkload(MovedClock(), raises={1: deque([RetryableError("no room")] * 2)})
    assert await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0) is ChunkOutcome.DONE
    assert workload.began == [0, 1, 1, 1, 2]
    assert [(result["status"], result["attempt"]) for result in results_of(claims)] == [("succeeded", 1)] * 3


async def test_an_item_that_goes_on_needing_what_does_not_answer_is_given_back() -> None:
    """Its neighbours have their results; the item is run again elsewhere, and that it cannot run kills nobody."""
    claims = PlayedClaims(missing=(0, 1, 2))
    clock = MovedClock()
    raises: dict[int, deque[BaseException]] = {n: deque([RetryableError("no room")] * 9) for n in (0, 1)}
    workload = PlayedWorkload(clock, seconds=(6.0, 6.0, 0.0), raises=raises)
    outcome = await asyncio.wait_for(runner(claims, workload, patience_seconds=5.0).run(TASK), 60.0)
    assert outcome is ChunkOutcome.GIVEN_BACK
    assert workload.began == [0, 1, 2]
    facts = [call for call in claims.calls if "." in call]
    assert facts == ["items.completed", "chunk.interrupted"]
    assert [result["item_index"] for result in orjson.loads(claims.facts[0])["results"]] == [2]


async def test_an_item_that_outlived_its_end_is_not_run_beside_itself() -> None:
    """Nobody may say that nothing runs any more: the claim dies by its lease."""
    claims = PlayedClaims(missing=(0, 1, 2))
    workload = PlayedWorkload(MovedClock(), raises={1: deque([StillRunningError("outlived SIGKILL")])})
    with pytest.raises(StillRunningError):
        await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0)
    assert workload.began == [0, 1]
    assert "chunk.interrupted" not in claims.calls


async def test_a_task_of_any_age_is_asked_about_until_redis_answers() -> None:
    """Its owner needs Redis as well, and sends it again long after Redis is back, if it has been sent before."""
    claims = RefusingClaims(spec_json=SPEC, missing=(0, 1, 2), answers=deque([None, None, None]))
    workload = PlayedWorkload(claims.clock)
    assert await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0) is ChunkOutcome.DONE
    assert claims.calls.count("claim") == 4


async def test_an_old_task_that_redis_does_not_know_yet_is_left() -> None:
    """Its owner sends it again when it has loaded."""
    claims = RefusingClaims(spec_json=SPEC, answers=deque([ClaimRefusal.NOT_YET]))
    assert await asyncio.wait_for(runner(claims, PlayedWorkload(claims.clock)).run(TASK), 60.0) is ChunkOutcome.LEFT
    fresh = TASK.model_copy(update={"dispatched_at": claims.clock.now_ms()})
    claims.answers.append(ClaimRefusal.NOT_YET)
    assert (
        await asyncio.wait_for(runner(claims, PlayedWorkload(claims.clock)).run(fresh), 60.0) is ChunkOutcome.PUT_BACK
    )


async def test_a_process_that_stops_asks_no_more() -> None:
    """Redis is away, and stays so: the task goes back."""
    claims = RefusingClaims(spec_json=SPEC, answers=deque([None] * 1_000_000))
    chunks = runner(claims, PlayedWorkload(claims.clock))
    running = asyncio.create_task(chunks.run(TASK))
    await wait_until(lambda: len(claims.calls) > 3, description="it asks")
    chunks.interrupt()
    assert await asyncio.wait_for(running, 60.0) is ChunkOutcome.PUT_BACK


_ODD_PAUSES = {
    "reason is a number": PauseJobError(cast("str", 5)),
    "reason is half a character": PauseJobError("\ud800"),
    "reason is endless": PauseJobError("x" * 2_000_000),
    "seconds are no number": PauseJobError("busy", resume_seconds=float("nan")),
    "seconds are endless": PauseJobError("busy", resume_seconds=float("inf")),
    "seconds are over": PauseJobError("busy", resume_seconds=-5.0),
    "seconds are text": PauseJobError("busy", resume_seconds=cast("float", "soon")),
    "cost is a part": PauseJobError("busy", cost_micros=cast("int", 1.5)),
    "cost is no number": PauseJobError("busy", cost_micros=cast("int", float("nan"))),
    "cost is text": PauseJobError("busy", cost_micros=cast("int", "dear")),
    "cost is below nothing": PauseJobError("busy", cost_micros=-5),
    "cost is beyond all": PauseJobError("busy", cost_micros=2**70),
    "attempt is text": PauseJobError("busy", attempt=cast("int", "2nd")),
    "attempt is none": PauseJobError("busy", attempt=0),
    "attempt is beyond all": PauseJobError("busy", attempt=2**70),
}


@pytest.mark.parametrize("pause", _ODD_PAUSES.values(), ids=_ODD_PAUSES)
async def test_a_pause_in_odd_words_pauses_its_job(pause: PauseJobError) -> None:
    """What a plug-in says besides counts as if it was not said; the run is given back, and nobody dies."""
    claims = PlayedClaims(missing=(0, 1, 2))
    workload = PlayedWorkload(MovedClock(), gives=pause)
    assert await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0) is ChunkOutcome.GIVEN_BACK
    (value,) = claims.facts
    assert len(value) < 10_000
    fact = decode_job_fact("job.paused", value)
    assert isinstance(fact, JobPaused)
    assert (fact.chunk_id, fact.until, fact.item_index, fact.attempt, fact.cost_micros) == (
        TASK.chunk,
        None,
        0,
        1,
        None,
    )
