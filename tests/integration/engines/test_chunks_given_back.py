"""Runs that stop in order: what has ended is published, the history is told, and no more of it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.router.engines.chunks.runner import ChunkRunner
from services.router.engines.chunks.task import ChunkOutcome, ChunkTask
from shared.errors import RetryableError
from shared.facts.jobs import ChunkInterrupted, ItemsCompleted, JobPaused
from shared.history.clock import SystemClock
from shared.settings import Settings
from shared.workloads import (
    ItemCall,
    ItemOutcome,
    ItemSucceeded,
    PauseJobError,
    Queue,
    RunContext,
    WorkloadRegistry,
)
from tests.integration.chunk_running import chunk_runner
from tests.integration.item_pids import all_gone, begun, let_go, written_pids
from tests.integration.played_owner import TRACE_ID, PlayedOwner
from tests.waiting import wait_until


async def held(owner: PlayedOwner, task: ChunkTask) -> None:
    """Wait until the chunk is claimed."""

    async def is_held() -> bool:
        return await owner.claim(task) == "held"

    await wait_until(is_held, description="the chunk is claimed")


class _Limited:
    """A workload whose second item meets a quota."""

    name = "python"
    queue: Queue = "batch_tasks"
    flush_each_item = False

    def __init__(self, resume_seconds: float | None) -> None:
        self._resume_seconds = resume_seconds

    def validate(self, options: Any, items: Any, settings: Settings) -> None:
        """Everything goes."""

    @asynccontextmanager
    async def open(self, _context: RunContext, /) -> AsyncIterator[_Limited]:
        """A run."""
        yield self

    async def item(self, call: ItemCall) -> ItemOutcome:
        """Run one."""
        if call.index == 1:
            raise PauseJobError("the day's tokens are used up", resume_seconds=self._resume_seconds, cost_micros=70)
        return ItemSucceeded(b"1")

    def kill(self) -> None:
        """Nothing takes time."""

    async def close(self) -> None:
        """Nothing is kept."""


@pytest.mark.parametrize(("resume_seconds", "least_ms"), [(None, None), (0.0, None), (0.5, 1000), (90.5, 90_500)])
async def test_an_item_that_meets_a_quota_pauses_its_job(
    settings: Settings, owner: PlayedOwner, resume_seconds: float | None, least_ms: int | None
) -> None:
    """What has ended is published first, then the pause with all that is known of it; no further item begins."""
    workloads = WorkloadRegistry({"python": lambda: _Limited(resume_seconds)})
    async with chunk_runner(settings, workloads=workloads) as runner:
        (task,) = await owner.plan([1, 2, 3])
        before_ms = SystemClock().now_ms()
        assert await runner.run(task) is ChunkOutcome.GIVEN_BACK
        after_ms = SystemClock().now_ms()
    facts = [fact for _, fact in await owner.facts(task)]
    assert isinstance(facts[0], ItemsCompleted)
    assert [result.item_index for result in facts[0].results] == [0]
    (pause,) = facts[1:]
    assert isinstance(pause, JobPaused)
    assert (pause.reason, pause.chunk_id) == ("the day's tokens are used up", task.chunk)
    assert (pause.item_index, pause.attempt, pause.cost_micros) == (1, 1, 70)
    assert (pause.first_ms, pause.longest_ms) == (30_000, 3_600_000)
    if least_ms is None:
        assert pause.until is None
    else:
        assert pause.until is not None
        assert before_ms + least_ms <= pause.until <= after_ms + least_ms
    assert await owner.claim(task) == "held", "the advance past the fact removes it"


async def test_an_interrupted_run_says_so_when_it_has_stopped(
    owner: PlayedOwner, runner: ChunkRunner, tmp_path: Path
) -> None:
    """What has ended is published, the item that runs is killed, then the fact; later tasks are put back."""
    (task,) = await owner.plan([str(tmp_path / "pids"), "never"], "pid_of_host")
    (later,) = await owner.plan([1])
    running = asyncio.create_task(runner.run(task))
    processes = await written_pids(tmp_path / "pids")
    runner.interrupt()
    assert await running is ChunkOutcome.GIVEN_BACK
    await all_gone(processes)
    ((headers, fact),) = await owner.facts(task)
    assert isinstance(fact, ChunkInterrupted)
    assert (fact.chunk_id, fact.worker_id) == (task.chunk, "celery@test:1")
    assert headers["traceparent"].split("-")[1] == TRACE_ID
    assert await runner.run(later) is ChunkOutcome.PUT_BACK


async def test_results_come_before_the_interruption(settings: Settings, owner: PlayedOwner, tmp_path: Path) -> None:
    """Two items that have ended and were not published yet are, although the third one never ends."""
    slow = settings.model_copy(update={"flush_seconds": 60.0})
    async with chunk_runner(slow) as runner:
        first, second, third = (tmp_path / name for name in ("first", "second", "third"))
        (task,) = await owner.plan([str(first), str(second), str(third)], "until_let_go")
        running = asyncio.create_task(runner.run(task))
        await let_go(first)
        await let_go(second)
        await begun(third)
        runner.interrupt()
        assert await running is ChunkOutcome.GIVEN_BACK
    kinds = [fact.fact_type for _, fact in await owner.facts(task)]
    assert kinds == ["items.completed", "chunk.interrupted"]
    assert [result.item_index for result in await owner.results(task)] == [0, 1]


class _NoKafka:
    """A sink that takes nothing."""

    async def append(self, topic: str, partition: int, **_: Any) -> None:
        """Refuse."""
        raise RetryableError(f"no Kafka for {topic}/{partition}")


async def test_an_interruption_that_nobody_hears_is_a_death(settings: Settings, owner: PlayedOwner) -> None:
    """Without Kafka the run stops all the same, and its claim is left to die by its lease."""
    async with chunk_runner(settings, facts=_NoKafka()) as runner:
        (task,) = await owner.plan([60], "sleep")
        running = asyncio.create_task(runner.run(task))
        await held(owner, task)
        runner.interrupt()
        assert await running is ChunkOutcome.GIVEN_BACK
    assert await owner.facts(task) == []
