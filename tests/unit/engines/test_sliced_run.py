"""One run of a chunk whose workload takes many items at a time: whatever a plug-in gives, each item has one outcome."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import pytest
from pydantic import JsonValue

from services.router.engines.chunks.task import ChunkOutcome
from shared.errors import RetryableError, StillRunningError
from shared.settings import Settings
from shared.workloads import ItemCall, ItemFailed, ItemOutcome, ItemSucceeded, PauseJobError, Queue, RunContext
from tests.unit.engines.played_chunk import LEASE_SECONDS, TASK, results_of, runner
from tests.unit.runs import MovedClock, PlayedClaims


class Broken:
    """What a plug-in gives in place of an outcome; it cannot even be looked at."""

    def __getattr__(self, name: str) -> object:
        """Nothing is to be had of it."""
        raise RuntimeError(f"{name} cannot be had")


Given = list[tuple[ItemCall, ItemOutcome]]
Act = Callable[[Sequence[ItemCall]], Given | BaseException]

_SUCCEEDED = ItemSucceeded(b"1", duration_seconds=0.0)


def all_succeed(calls: Sequence[ItemCall]) -> Given:
    """As it should be."""
    return [(call, _SUCCEEDED) for call in calls]


def nothing(_: Sequence[ItemCall]) -> Given:
    """There was no time."""
    return []


@dataclass(slots=True)
class PlayedSlices:
    """Does in each slice what the next of `acts` says; when there are no more, all items succeed.

    Attributes:
        at_once: what it says of that; an exception is raised.
        slices: the indexes that it was given.
        ends: until when items may begin, as it was told.
        seconds: what a slice takes, of the clock that is moved.
    """

    clock: MovedClock
    acts: deque[Act] = field(default_factory=deque)
    says_at_once: Any = 3
    seconds: float = 0.0
    slices: list[list[int]] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    name: str = "played"
    queue: Queue = "batch_tasks"
    flush_each_item: bool = False

    @property
    def at_once(self) -> Any:
        """How many it would run at a time."""
        if isinstance(self.says_at_once, BaseException):
            raise self.says_at_once
        return self.says_at_once

    def validate(self, options: Mapping[str, JsonValue], items: Sequence[JsonValue] | None, settings: Settings) -> None:
        """Anything goes."""

    @asynccontextmanager
    async def open(self, context: RunContext) -> AsyncIterator[PlayedSlices]:  # noqa: ARG002 - it needs nothing of it
        """It is its own run."""
        yield self

    async def close(self) -> None:
        """Nothing is kept."""

    def kill(self) -> None:
        """Nothing runs by itself."""

    async def slice(self, calls: Sequence[ItemCall], begin_until: Callable[[], float]) -> AsyncGenerator[Given]:
        """Play one."""
        self.ends.append(begin_until())
        self.slices.append([call.index for call in calls])
        self.clock.seconds += self.seconds
        given = (self.acts.popleft() if self.acts else all_succeed)(calls)
        if isinstance(given, BaseException):
            raise given
        yield given


async def run_of(*acts: Act, **named: Any) -> tuple[ChunkOutcome, PlayedClaims, PlayedSlices]:
    """A run to its end."""
    claims, workload = PlayedClaims(missing=(0, 1, 2)), PlayedSlices(MovedClock(), deque(acts), **named)
    return await asyncio.wait_for(runner(claims, workload).run(TASK), 60.0), claims, workload


def ends(claims: PlayedClaims) -> list[tuple[int, str]]:
    """Items and what became of them, in the order of the history."""
    return [(result["item_index"], result.get("error_type") or result["status"]) for result in results_of(claims)]


async def test_a_slice_gets_the_end_of_the_lease() -> None:
    """Or half a heartbeat, if that is sooner."""
    outcome, claims, workload = await run_of()
    assert (outcome, workload.slices) == (ChunkOutcome.DONE, [[0, 1, 2]])
    assert workload.ends == [workload.clock.monotonic() + 0.005]
    assert ends(claims) == [(0, "succeeded"), (1, "succeeded"), (2, "succeeded")]


async def test_no_slice_begins_on_a_lease_that_has_lapsed() -> None:
    """The first took longer; the others are another run's."""
    outcome, claims, workload = await run_of(says_at_once=1, seconds=LEASE_SECONDS)
    assert (outcome, workload.slices) == (ChunkOutcome.KILLED, [[0]])
    assert "finish" not in claims.calls


@pytest.mark.parametrize("says", [0, -5, "many", None, RuntimeError("no"), SystemExit(1)])
async def test_a_plug_in_that_does_not_say_how_many_runs_one(says: object) -> None:
    """Until it is known what one takes."""
    outcome, claims, workload = await run_of(says_at_once=says)
    assert (outcome, workload.slices) == (ChunkOutcome.DONE, [[0], [1, 2]])
    assert len(ends(claims)) == 3


@pytest.mark.parametrize(
    "outcome",
    [
        ItemSucceeded(b"1", duration_seconds=-1.0),
        ItemSucceeded(b"1", duration_seconds=1e300),
        ItemSucceeded(b"1", duration_seconds=float("nan")),
        ItemSucceeded(b"1", cost_micros=-1),
        ItemSucceeded(cast("bytes", None)),
        ItemFailed(cast("Any", ["no word"]), "why", duration_seconds=cast("float", "long")),
        cast("ItemOutcome", None),
    ],
    ids=["seconds below nothing", "seconds beyond all", "no number", "cost", "no output", "no error type", "nothing"],
)
async def test_an_outcome_that_is_none_fails_its_item_alone(outcome: ItemOutcome) -> None:
    """It is not lost, and its neighbours have theirs."""
    ended, claims, _ = await run_of(lambda calls: [(calls[0], _SUCCEEDED), (calls[1], outcome), (calls[2], _SUCCEEDED)])
    assert ended is ChunkOutcome.DONE
    assert ends(claims) == [(0, "succeeded"), (1, "internal"), (2, "succeeded")]
    fact = orjson.loads(claims.facts[0])
    assert 0 <= fact["times"]["started_at"] <= fact["times"]["ended_at"]


@pytest.mark.parametrize(
    "act",
    [
        lambda _: ValueError("broken"),
        lambda _: SystemExit(1),
        lambda _: [(None, _SUCCEEDED)],
        lambda _: [None],
        lambda _: None,
        lambda _: [(Broken(), _SUCCEEDED)],
        lambda calls: [(calls[0], Broken()), *all_succeed(calls[1:])],
        lambda calls: [(ItemCall(0, 1, 1, "another", 1), _SUCCEEDED), *all_succeed(calls)],
        lambda calls: [(ItemCall(77, 1, 1, "another", 1), _SUCCEEDED), *all_succeed(calls)],
    ],
    ids=[
        "raises",
        "sys.exit",
        "no call",
        "no pair",
        "no list",
        "a broken call",
        "a broken outcome",
        "another call",
        "another item",
    ],
)
async def test_a_plug_in_that_fails_in_a_slice_fails_one_item(act: Act) -> None:
    """The first that has no outcome; the others run."""
    outcome, claims, workload = await run_of(act)
    assert outcome is ChunkOutcome.DONE
    assert ends(claims) == [(0, "internal"), (1, "succeeded"), (2, "succeeded")]
    assert workload.slices == [[0, 1, 2], [1, 2]]


async def test_an_item_whose_outcome_comes_twice_has_the_first() -> None:
    """The second is a failure of the plug-in, which the next item pays for."""
    outcome, claims, _ = await run_of(lambda calls: [(calls[0], _SUCCEEDED), (calls[0], ItemFailed("exception", "no"))])
    assert outcome is ChunkOutcome.DONE
    assert ends(claims) == [(0, "succeeded"), (1, "internal"), (2, "succeeded")]


async def test_a_plug_in_that_gives_nothing_does_not_go_on_for_ever() -> None:
    """A few slices may find no time; so many in a row are a failure of its own."""
    outcome, claims, workload = await run_of(*[nothing] * 10)
    assert outcome is ChunkOutcome.DONE
    assert ends(claims) == [(0, "internal"), (1, "succeeded"), (2, "succeeded")]
    assert workload.slices == [[0, 1, 2]] * 10 + [[1, 2]]
    assert results_of(claims)[0]["error_message"] == "its workload gave no outcome"


async def test_a_slice_without_time_costs_nothing() -> None:
    """Its items come again."""
    outcome, claims, workload = await run_of(nothing, lambda calls: all_succeed(calls[:1]))
    assert (outcome, workload.slices) == (ChunkOutcome.DONE, [[0, 1, 2], [0, 1, 2], [1, 2]])
    assert ends(claims) == [(0, "succeeded"), (1, "succeeded"), (2, "succeeded")]


async def test_a_quota_pauses_the_job_at_the_first_item_without_outcome() -> None:
    """What has been run is in the history before."""
    outcome, claims, _ = await run_of(
        lambda calls: all_succeed(calls[:1]), lambda _: PauseJobError("busy"), says_at_once=1
    )
    assert outcome is ChunkOutcome.GIVEN_BACK
    assert ends(claims) == [(0, "succeeded")]
    assert (claims.calls[-1], orjson.loads(claims.facts[-1])["item_index"]) == ("job.paused", 1)


async def test_what_does_not_answer_is_asked_again() -> None:
    """No death is counted, and nothing is failed."""
    outcome, claims, workload = await run_of(lambda _: RetryableError("no room"), lambda _: RetryableError("no room"))
    assert (outcome, workload.slices) == (ChunkOutcome.DONE, [[0, 1, 2]] * 3)
    assert ends(claims) == [(0, "succeeded"), (1, "succeeded"), (2, "succeeded")]


async def test_what_outlived_its_end_is_not_run_beside_itself() -> None:
    """The claim dies by its lease."""
    with pytest.raises(StillRunningError):
        await run_of(lambda _: StillRunningError("outlived SIGKILL"))
