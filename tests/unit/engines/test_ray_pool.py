"""The pool of runners that a driver has: when there are more, who gets what, and what the death of a runner means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.router.engines.ray.pool import LOST, ClusterLostError, PoolDepths, PoolTask, RunnerLostError, RunnerPool
from tests.waiting import wait_until


class PlayedRunner:
    """A runner whose calls end when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, asyncio.Future[str]]] = []

    async def ready(self) -> None:
        """At once."""

    async def run(self, message: dict[str, Any]) -> str:
        """Wait for the test."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.calls.append((message["chunk"], answer))
        return await answer


@dataclass
class Played:
    """A pool, the runners that it got, and what it told."""

    pool: RunnerPool
    runners: list[tuple[int, PlayedRunner]] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def put(self, *chunks: str, priority: int = 3) -> None:
        """Chunks to run."""
        for chunk in chunks:
            self.pool.put(PoolTask(chunk, priority, {"chunk": chunk}))

    async def call(self, number: int) -> tuple[str, asyncio.Future[str]]:
        """The call of this number, over all runners, in the order in which they were made."""
        await wait_until(lambda: len(self._calls()) > number, description=f"call {number}")
        return self._calls()[number]

    def _calls(self) -> list[tuple[str, asyncio.Future[str]]]:
        return [call for _, runner in self.runners for call in runner.calls]


@pytest.fixture
async def make() -> AsyncIterator[Callable[[int], Played]]:
    """Makes pools of so many runners; they are closed afterwards."""
    made: list[Played] = []

    def pool_of(most: int) -> Played:
        async def get(number: int) -> PlayedRunner:
            runner = PlayedRunner()
            played.runners.append((number, runner))
            return runner

        ended: list[tuple[str, str]] = []
        failures: list[BaseException] = []
        pool = RunnerPool(
            "python",
            range(most),
            get,
            ended=lambda chunk, outcome: ended.append((chunk, outcome)),
            failed=failures.append,
        )
        played = Played(pool, ended=ended, failures=failures)
        made.append(played)
        return played

    yield pool_of
    for played in made:
        await played.pool.close()


async def test_it_grows_with_what_waits_and_no_further(make: Callable[[int], Played]) -> None:
    """One task, one runner; three more, two runners, since that is the most; each has one task at a time."""
    played = make(2)
    played.put("a")
    await played.call(0)
    assert [number for number, _ in played.runners] == [0]
    played.put("b", "c", "d")
    await played.call(1)
    assert [number for number, _ in played.runners] == [0, 1]
    assert played.pool.depths == PoolDepths(waiting=2, running=2, runners=2)


async def test_the_most_urgent_goes_first_and_none_waits_twice(make: Callable[[int], Played]) -> None:
    """Priority, then the order of coming; what waits already is not taken again, what runs is."""
    played = make(1)
    played.put("running")
    _, running = await played.call(0)
    played.put("late", "late", priority=6)
    played.put("normal", "running")
    played.put("urgent", priority=0)
    for number, chunk in enumerate(("urgent", "normal", "running", "late"), 1):
        running.set_result("done")
        found, running = await played.call(number)
        assert found == chunk
    assert played.pool.depths.waiting == 0


async def test_a_dead_runner_is_replaced_and_its_task_goes_on(make: Callable[[int], Played]) -> None:
    """The same task goes to a new runner of the same number; after the sixth death it is given up."""
    played = make(1)
    played.put("a")
    for number in range(6):
        chunk, answer = await played.call(number)
        assert (chunk, played.ended) == ("a", [])
        answer.set_exception(RunnerLostError("dead"))
    await wait_until(lambda: played.ended, description="it is given up")
    assert played.ended == [("a", LOST)]
    assert {number for number, _ in played.runners} == {0}
    assert not played.failures


async def test_a_lost_cluster_is_the_end_of_the_pool(make: Callable[[int], Played]) -> None:
    """Whoever has the pool is told, and nothing is said to have ended."""
    played = make(1)
    played.put("a")
    _, answer = await played.call(0)
    answer.set_exception(ClusterLostError("gone"))
    await wait_until(lambda: played.failures, description="the failure is told")
    assert isinstance(played.failures[0], ClusterLostError)
    assert played.ended == []


async def test_a_task_that_is_put_back_runs_again(make: Callable[[int], Played]) -> None:
    """Behind what waits, after a while; meanwhile its runner takes others."""
    played = make(1)
    played.put("early", "other")
    _, early = await played.call(0)
    early.set_result("put_back")
    chunk, other = await played.call(1)
    assert chunk == "other"
    other.set_result("done")
    assert (await played.call(2))[0] == "early"
    assert played.ended == [("other", "done")]
