"""The task sage on a real history: what it says follows from the past, and from nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.sages.past_jobs.similar import SimilarJobs
from services.sages.sage import Question
from services.sages.task import TaskSage, proposed_chunk_items, proposed_priority, quantiles
from shared.settings import Settings
from tests.fresh_topics import fresh_topics
from tests.integration.sages.history import HistoryWriter, PastJob, accepted, now_ms
from tests.integration.sages.played_sages import question
from tests.waiting import wait_until


@pytest.fixture
async def settings(embedded_broker: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Topics of this test."""
    async with fresh_topics(embedded_broker, "embedded", data_dir=tmp_path, slots=2) as settings:
        yield settings


@asynccontextmanager
async def task_sage(settings: Settings) -> AsyncIterator[TaskSage]:
    """The sage, caught up."""
    sage = TaskSage()
    assert sage.is_warming
    await sage.start(settings)
    try:
        await wait_until(lambda: not sage.is_warming, description="the task sage has caught up")
        yield sage
    finally:
        await sage.close()


def asked(*, items: int = 4, function: str = "math:sqrt", **fields: Any) -> Question:
    """A question about a `python` job of so many items."""
    return question(*range(items), options={"function": function}, accepted_at=now_ms(), **fields)


SQRT = PastJob(items=(1, 2, 3, 4), ran_ms=2000, queued_ms=300, options=(("function", "math:sqrt"),))


async def test_it_knows_nothing_but_the_past(settings: Settings) -> None:
    """Without samples there are no numbers; after a job has ended there are its own."""
    async with HistoryWriter(settings) as writer, task_sage(settings) as sage:
        nothing = await sage.advise(asked())
        assert nothing == {
            "samples": 0,
            "basis": "none",
            "duration_seconds": None,
            "cost_usd": None,
            "queue_seconds": None,
            "priority": "normal",
            "chunk_items": None,
            "duplicate_of": None,
        }
        await writer.past(replace(SQRT, cost_micros=1500))

        async def learned() -> dict[str, Any] | None:
            advice: dict[str, Any] = await sage.advise(asked())
            return advice if advice["samples"] else None

        advice = await wait_until(learned, description="the job that has ended is known")
        assert advice["samples"] == 1
        assert advice["duration_seconds"] == {"p10": 2.0, "p50": 2.0, "p90": 2.0}
        assert advice["queue_seconds"]["p50"] == 0.3
        assert advice["cost_usd"]["p50"] == 0.0015


async def test_the_number_of_items_changes_the_estimate(settings: Settings) -> None:
    """Two questions that differ in their size alone: of the same size as it was, of ten times the size scaled."""
    async with HistoryWriter(settings) as writer:
        for ran_ms in (1000, 2000, 3000):
            await writer.past(replace(SQRT, ran_ms=ran_ms))
    async with task_sage(settings) as sage:
        same, large = await sage.advise(asked(items=4)), await sage.advise(asked(items=40))
    assert (same["basis"], large["basis"]) == ("same_size", "scaled")
    assert same["duration_seconds"] == {"p10": 1.2, "p50": 2.0, "p90": 2.8}
    assert large["duration_seconds"] == {"p10": 12.0, "p50": 20.0, "p90": 28.0}
    assert same["queue_seconds"] == large["queue_seconds"]
    assert (same["priority"], large["priority"]) == ("interactive", "normal")


async def test_the_function_changes_the_estimate(settings: Settings) -> None:
    """The same workload and size, another function: it has its own past, or else that of the workload."""
    async with HistoryWriter(settings) as writer:
        for _ in range(3):
            await writer.past(SQRT)
            await writer.past(replace(SQRT, ran_ms=700_000, options=(("function", "time:sleep"),)))
    async with task_sage(settings) as sage:
        quick, slow = await sage.advise(asked()), await sage.advise(asked(function="time:sleep"))
        unknown = await sage.advise(asked(function="math:cbrt"))
        other = await sage.advise(question("hello", workload="claude"))
    assert (quick["priority"], slow["priority"]) == ("interactive", "batch")
    assert quick["duration_seconds"] != slow["duration_seconds"]
    assert (unknown["basis"], unknown["samples"]) == ("workload_scaled", 6)
    assert other["samples"] == 0


async def test_a_job_whose_size_nobody_knows_has_a_queue_wait_only(settings: Settings) -> None:
    """What waits does not depend on the size; what runs does."""
    async with HistoryWriter(settings) as writer:
        await writer.past(SQRT)
    async with task_sage(settings) as sage:
        advice: dict[str, Any] = await sage.advise(asked(items_total=None))
    assert (advice["samples"], advice["duration_seconds"], advice["chunk_items"]) == (0, None, None)
    assert advice["queue_seconds"]["p50"] == 0.3


async def test_a_job_with_the_same_content_is_named(settings: Settings) -> None:
    """Live, or ended within the day; not its own row, not another tenant's, not one that failed."""
    async with HistoryWriter(settings) as writer:
        ended = await writer.past(replace(SQRT, content_hash="ended"))
        await writer.past(replace(SQRT, content_hash="failed", status="failed"))
        await writer.past(replace(SQRT, content_hash="old"), ended_at=now_ms() - 2 * 24 * 3600 * 1000)
        live, own = str(uuid4()), str(uuid4())
        await writer.past(replace(SQRT, content_hash="live"))
        await writer.append(live, [(now_ms(), accepted(live, replace(SQRT, content_hash="live")))])
        await writer.append(own, [(now_ms(), accepted(own, replace(SQRT, content_hash="own")))])
    async with task_sage(settings) as sage:

        async def duplicate(content_hash: str, **fields: Any) -> object:
            return (await sage.advise(asked(content_hash=content_hash, **fields)))["duplicate_of"]

        assert await duplicate("ended") == ended
        assert await duplicate("live") == live
        assert await duplicate("failed") is None
        assert await duplicate("old") is None
        assert await duplicate("own", job_id=own) is None
        assert await duplicate("ended", tenant="another") is None


async def test_a_deleted_file_restores_the_same_answers(settings: Settings) -> None:
    """The file is a function of the log."""
    async with HistoryWriter(settings) as writer:
        for ran_ms in (1000, 2500, 3000, 9000):
            await writer.past(replace(SQRT, ran_ms=ran_ms))
    async with task_sage(settings) as sage:
        before = await sage.advise(asked())
    for file in (settings.data_dir / "sages").iterdir():
        file.unlink()
    async with task_sage(settings) as sage:
        assert await sage.advise(asked()) == before


async def test_old_jobs_are_forgotten(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound on the rows: the newest are kept."""
    monkeypatch.setattr("services.sages.past_jobs.duration_table.KEPT_JOBS", 2)
    monkeypatch.setattr("services.sages.memory.table.PRUNE_EVERY", 1)
    async with HistoryWriter(settings) as writer, task_sage(settings) as sage:
        for age in range(5):
            await writer.past(replace(SQRT, ran_ms=1000 + age), ended_at=now_ms() - age * 100_000)

        async def bounded() -> bool:
            return (await sage.advise(asked()))["samples"] == 2

        await wait_until(bounded, description="two jobs are left")


def test_a_chunk_holds_some_seconds_of_work() -> None:
    """Fewer items where there are slots for them, more where the chunk's own cost would show."""
    assert proposed_chunk_items(10_000, 0.1, slots=2) == 50
    assert proposed_chunk_items(20, 0.1, slots=2) == 5
    assert proposed_chunk_items(20, 0.001, slots=2) == 20
    assert proposed_chunk_items(20, 30.0, slots=2) == 1
    assert proposed_chunk_items(20, 0.0, slots=2) == 20
    assert proposed_chunk_items(None, 1.0, slots=2) is None
    assert proposed_chunk_items(20, None, slots=2) is None


def test_who_asked_for_a_priority_gets_it() -> None:
    """A proposal is only made where the submit left the choice."""
    quick = SimilarJobs("same_size", (1.0, 2.0))
    assert proposed_priority("normal", quick) == "interactive"
    assert proposed_priority("batch", quick) == "batch"
    assert proposed_priority("normal", SimilarJobs("same_size", (5.0, 300.0))) == "normal"
    assert proposed_priority("normal", SimilarJobs("none")) == "normal"


def test_quantiles_are_interpolated() -> None:
    """As `statistics.quantiles(method="inclusive")` has them."""
    assert quantiles((3.0, 1.0, 2.0)) == {"p10": 1.2, "p50": 2.0, "p90": 2.8}
    assert quantiles((7.0,)) == {"p10": 7.0, "p50": 7.0, "p90": 7.0}
    assert quantiles(()) is None
