"""Gathering and flushing results, against a sink that the test controls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.router.engines.chunks.result_publisher import MAX_FACT_BYTES, ResultPublisher, TimedResult
from services.router.engines.chunks.runner_parts import ChunkRunnerParts
from services.router.engines.chunks.task import ChunkTask
from shared.errors import RetryableError
from shared.facts.jobs import FactResult, ItemsCompleted
from shared.settings import Settings
from tests.waiting import wait_until

TASK = ChunkTask(
    topic="t.jobs.history",
    partition=2,
    chunk="4f970e3e-d1a3-5d45-8587-591465c16100/0/3/0-99",
    dispatched_at=1000,
    attempt=1,
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)


class Sink:
    """Takes facts, unless told to fail; waits while its gate is closed."""

    def __init__(self) -> None:
        self.facts: list[ItemsCompleted] = []
        self.failures = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, topic: str, partition: int, *, key: str, value: bytes, headers: Any) -> None:
        """Take one."""
        assert (topic, partition, key, headers) == (TASK.topic, 2, TASK.chunk_id.job_id, [("ce_type", b"x")])
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise RetryableError("down")
        self.facts.append(ItemsCompleted.model_validate_json(value))

    def indexes(self) -> list[list[int]]:
        """Item indexes, by fact."""
        return [[result.item_index for result in fact.results] for fact in self.facts]


def publisher(sink: Sink, *, patience_seconds: float = 30.0, **settings: Any) -> ResultPublisher:
    """A publisher that gathers three results, or for an hour."""
    nothing: Any = None
    parts = ChunkRunnerParts(
        settings=Settings(**({"flush_items": 3, "flush_seconds": 3600.0} | settings), _env_file=None),
        engine="celery",
        worker_id="w",
        claims=nothing,
        facts=sink,
        workloads=nothing,
        blobs=nothing,
        patience_seconds=patience_seconds,
    )
    return ResultPublisher(parts, TASK, claimed_at=2000, headers=[("ce_type", b"x")])


def timed(index: int, payload_bytes: int = 10) -> TimedResult:
    """A result."""
    result = FactResult(item_index=index, status="succeeded", output=index)
    return TimedResult(result, 3000 + index, 3010 + index, payload_bytes)


async def test_a_full_fact_is_published_and_the_rest_at_the_end() -> None:
    """Three at a time; the fact carries the chunk and the times of its own items."""
    sink = Sink()
    results = publisher(sink)
    for index in range(4):
        await results.add(timed(index))
    assert sink.indexes() == [[0, 1, 2]]
    await results.flush()
    await results.flush()
    assert sink.indexes() == [[0, 1, 2], [3]]
    fact = sink.facts[0]
    assert (fact.epoch, fact.stage_index, fact.chunk_id) == (3, 0, TASK.chunk)
    assert fact.times is not None
    assert fact.times.model_dump() == {"dispatched_at": 1000, "claimed_at": 2000, "started_at": 3000, "ended_at": 3012}


async def test_bytes_split_facts_too() -> None:
    """What would make a fact too large goes into the next one."""
    sink = Sink()
    results = publisher(sink, flush_items=100)
    for index in range(3):
        await results.add(timed(index, MAX_FACT_BYTES // 2 - 1000))
    await results.flush()
    assert sink.indexes() == [[0, 1], [2]]


async def test_what_waits_is_published_after_a_while() -> None:
    """Without another item ending."""
    sink = Sink()
    results = publisher(sink, flush_seconds=0.01)
    flushing = asyncio.create_task(results.keep_flushing())
    await results.add(timed(0))
    await wait_until(lambda: sink.indexes() == [[0]], description="it is published")
    await results.add(timed(1))
    await wait_until(lambda: sink.indexes() == [[0], [1]], description="the next one is, too")
    flushing.cancel()


async def test_many_results_are_gathered_for_longer() -> None:
    """All but the job's first: the next fact waits for what still comes, until its limit."""
    sink = Sink()
    results = publisher(sink, flush_items=100, flush_seconds=0.01, flush_longest_seconds=3600.0)
    flushing = asyncio.create_task(results.keep_flushing())
    await _add(results, list(range(20)))
    await wait_until(lambda: sink.indexes() == [list(range(20))], description="the first ones are published")
    await _add(results, [20])
    await wait_until(lambda: sink.indexes()[1:] == [[20]], description="so is what comes slowly")
    await _add(results, list(range(21, 41)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):  # ten times as long as the first ones waited
            await asyncio.shield(flushing)
    assert len(sink.facts) == 2
    await _add(results, list(range(41, 121)))
    assert sink.indexes()[2:] == [list(range(21, 121))]
    flushing.cancel()
    await asyncio.wait({flushing})


async def test_failures_are_asked_over_and_nothing_is_lost_or_doubled() -> None:
    """The same fact is appended again, results that came meanwhile go into the next."""
    sink = Sink()
    sink.gate.clear()
    sink.failures = 2
    results = publisher(sink, flush_items=2)
    adding = asyncio.create_task(_add(results, [0, 1]))
    await asyncio.sleep(0)
    other = asyncio.create_task(_add(results, [2]))
    sink.gate.set()
    await adding
    await other
    await results.flush()
    assert sorted(index for fact in sink.indexes() for index in fact) == [0, 1, 2]


async def _add(results: ResultPublisher, indexes: list[int]) -> None:
    for index in indexes:
        await results.add(timed(index))


async def test_patience_ends() -> None:
    """After that the run has to end; the results are still not counted as published."""
    sink = Sink()
    sink.failures = 1000
    results = publisher(sink, patience_seconds=0.3)
    await results.add(timed(0))
    with pytest.raises(RetryableError, match="down"):
        await results.flush()
    sink.failures = 0
    await results.flush()
    assert sink.indexes() == [[0]]
