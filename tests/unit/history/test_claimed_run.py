"""The one race of a run: its work, what goes on beside it, its lease, and the stop of its process."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

import pytest

from shared.errors import RetryableError, StillRunningError
from shared.history.runs.claimed_run import (
    INTERRUPTED,
    STUCK,
    ClaimedRun,
    ResultUntoldError,
    RunStoppedError,
    Stopped,
)
from shared.history.runs.claims import Renewal
from shared.history.runs.lease import LeaseLostError
from tests.unit.history.test_run_end import lease
from tests.unit.runs import PlayedClaims
from tests.waiting import wait_until


@dataclass(slots=True)
class PlayedWork:
    """Work that ends as it was told to.

    Attributes:
        gives: its result, or what it raises; None: it goes on until it is cancelled.
        flushing: what goes on beside it raises this; None: it goes on.
        saying: what the interruption raises, one after another.
        may_stop: cancelled work ends only then.
        steps: what was asked of it, in order.
    """

    gives: str | Exception | None = None
    flushing: Exception | None = None
    saying: deque[Exception] = field(default_factory=deque)
    may_stop: asyncio.Event | None = None
    steps: list[str] = field(default_factory=list)

    async def work(self) -> str:
        """Do it."""
        self.steps.append("work")
        if isinstance(self.gives, Exception):
            raise self.gives
        if self.gives is None:
            try:
                await asyncio.Event().wait()
            finally:
                if self.may_stop is not None:
                    await self.may_stop.wait()
        return self.gives or ""

    async def flush(self) -> None:
        """Go on beside it."""
        if self.flushing is not None:
            raise self.flushing
        await asyncio.Event().wait()

    def kill(self) -> None:
        """End."""
        self.steps.append("kill")

    async def interrupted(self) -> None:
        """Say it."""
        self.steps.append("interrupted")
        if self.saying:
            raise self.saying.popleft()


async def run(
    work: PlayedWork,
    claims: PlayedClaims,
    *,
    stopping: asyncio.Event | None = None,
    stop_seconds: float | None = None,
) -> str | Stopped:
    """What becomes of it, within a minute."""
    claimed = ClaimedRun(work, lease(claims), stopping or asyncio.Event(), whose="chunk c", stop_seconds=stop_seconds)
    async with asyncio.timeout(60.0):
        return await claimed.run()


async def test_a_result_ends_the_claim() -> None:
    """Once nothing of the run goes on."""
    work, claims = PlayedWork("result"), PlayedClaims()
    assert await run(work, claims) == "result"
    assert (work.steps, claims.calls[-1]) == (["work", "kill"], "finish")


@pytest.mark.parametrize("error", [RunStoppedError("paused"), LeaseLostError("job_ended")], ids=["paused", "lost"])
async def test_work_that_stops_itself_leaves_its_claim(error: RunStoppedError | LeaseLostError) -> None:
    """Nothing is said of it: the fact that it has appended, or whoever took the claim, says what follows."""
    work, claims = PlayedWork(error), PlayedClaims()
    assert await run(work, claims) == Stopped(error.reason)
    assert (work.steps, "finish" in claims.calls) == (["work", "kill"], False)


async def test_a_lost_lease_ends_the_work() -> None:
    """Redis says that another run has the claim."""
    work, claims = PlayedWork(), PlayedClaims(renewals=deque([Renewal.CLAIM_LOST]))
    assert await run(work, claims) == Stopped("claim_lost")
    assert (work.steps, "finish" in claims.calls) == (["work", "kill"], False)


@pytest.mark.parametrize("beside", [False, True], ids=["work", "flush"])
async def test_a_dependency_that_is_away_gives_the_subject_back(
    beside: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """It may run elsewhere, and nobody has died; where that cannot be said either, the claim dies by its lease."""
    away = RetryableError("away")
    for saying in (deque[Exception](), deque[Exception]([RetryableError("away, too")])):
        work = PlayedWork(None, flushing=away) if beside else PlayedWork(away)
        work.saying, cannot_be_said = saying, bool(saying)
        if cannot_be_said:
            with pytest.raises(RetryableError, match=r"^away$"):
                await run(work, PlayedClaims())
        else:
            assert await run(work, PlayedClaims()) == Stopped(INTERRUPTED)
        assert work.steps[-2:] == ["kill", "interrupted"]


@pytest.mark.parametrize("error", [StillRunningError("outlived SIGKILL"), ResultUntoldError("away")], ids=type)
async def test_what_cannot_be_stopped_or_has_had_its_effect_is_not_given_back(error: RetryableError) -> None:
    """Another run would begin it beside itself, or have the effect again and again."""
    work = PlayedWork(error)
    with pytest.raises(type(error)):
        await run(work, PlayedClaims())
    assert work.steps == ["work", "kill"]


async def test_an_interruption_that_takes_too_long_to_say_is_none() -> None:
    """The work gives up by itself; the claim dies by its lease, and what failed first is raised."""
    work = PlayedWork(RetryableError("away"), saying=deque([TimeoutError()]))
    with pytest.raises(RetryableError, match=r"^away$"):
        await run(work, PlayedClaims())


async def test_a_result_counts_though_its_claim_cannot_be_marked_done() -> None:
    """The lease lapses while Redis does not answer: the history has the result, which is all that matters."""

    class Unmarked(PlayedClaims):
        async def finish(self, *_: object, **__: object) -> None:
            await PlayedClaims.finish(self)
            raise LeaseLostError("lapsed")

    claims = Unmarked()
    assert await run(PlayedWork("result"), claims) == "result"
    assert claims.calls[-1] == "finish"


async def test_a_run_that_is_cancelled_ends_with_its_parts() -> None:
    """Once the work has stopped; nothing is said, and the claim is not marked done."""
    work, claims = PlayedWork(may_stop=asyncio.Event()), PlayedClaims()
    running = asyncio.create_task(run(work, claims))
    await wait_until(lambda: work.steps, description="the work has begun")
    running.cancel()
    await wait_until(lambda: "kill" in work.steps, description="the work is told to stop")
    assert not running.done()
    assert work.may_stop is not None
    work.may_stop.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (work.steps, "finish" in claims.calls) == (["work", "kill"], False)


async def test_work_that_does_not_stop_in_time_is_stuck() -> None:
    """Nobody says that nothing of it goes on."""
    work, stopping = PlayedWork(may_stop=asyncio.Event()), asyncio.Event()
    running = asyncio.create_task(run(work, PlayedClaims(), stopping=stopping, stop_seconds=0.05))
    await wait_until(lambda: work.steps, description="the work has begun")
    stopping.set()
    assert await running == Stopped(STUCK)
    assert work.steps == ["work", "kill"]
    assert work.may_stop is not None
    work.may_stop.set()


async def test_a_failure_of_our_own_ends_all_of_the_run() -> None:
    """It is raised once nothing goes on; nothing is said of it."""
    work, claims = PlayedWork(ZeroDivisionError("ours")), PlayedClaims()
    with pytest.raises(ZeroDivisionError):
        await run(work, claims)
    assert (work.steps, "finish" in claims.calls) == (["work", "kill"], False)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert others == set()
