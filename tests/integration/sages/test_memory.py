"""A sage's memory, on a real embedded broker: what it takes in, and where it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from services.sages.memory.file import Frame, MemoryFile
from services.sages.memory.table import Memory
from shared.consumer.record import ConsumedRecord
from shared.errors import RetryableError
from shared.facts.jobs import decode_job_fact
from shared.kafka.topics import JOBS_HISTORY
from shared.settings import Settings
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.integration.sages.history import HistoryWriter, PastJob, accepted, now_ms
from tests.waiting import wait_until

SCHEMA = "CREATE TABLE facts (job_id TEXT, fact_type TEXT, times INTEGER, PRIMARY KEY (job_id, fact_type));"
Rows = list[tuple[str, str, int]]


def apply(connection: sqlite3.Connection, record: ConsumedRecord) -> None:
    """Counts how often each fact was applied, which no real memory would."""
    fact_type = record.header("ce_type") or ""
    decode_job_fact(fact_type, record.value or b"")
    connection.execute(
        "INSERT INTO facts VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET times = times + 1",
        ((record.key or b"").decode(), fact_type),
    )


def rows(connection: sqlite3.Connection) -> Rows:
    """All of the table."""
    return connection.execute("SELECT job_id, fact_type, times FROM facts ORDER BY 1, 2").fetchall()


@asynccontextmanager
async def memory(settings: Settings, apply: Callable[..., None] = apply, version: int = 1) -> AsyncIterator[Memory]:
    """A memory that has caught up."""
    made = Memory(settings, "counted", [JOBS_HISTORY], SCHEMA, version, apply)
    assert made.is_warming
    await made.start()
    try:
        await wait_until(lambda: not made.is_warming, description="the memory has caught up")
        yield made
    finally:
        await made.close()


@pytest.fixture
async def settings(embedded_broker: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Topics of this test."""
    async with fresh_topics(embedded_broker, "embedded", data_dir=tmp_path) as settings:
        yield settings


async def test_it_catches_up_follows_and_goes_on_at_the_stored_offsets(any_broker: AnyBroker, tmp_path: Path) -> None:
    """Each fact is applied once, whatever is restarted; what came while it was away comes after the restart."""
    async with (
        fresh_topics(any_broker.bootstrap, any_broker.profile, data_dir=tmp_path) as settings,
        HistoryWriter(settings) as writer,
    ):
        first = [await writer.past(PastJob()) for _ in range(5)]
        async with memory(settings) as made:
            assert {row[0] for row in await made.query(rows)} == set(first)
            followed = await writer.past(PastJob())
            await wait_until(lambda: _knows(made, followed), description="a job that ends now is taken in")
        away = await writer.past(PastJob())
        async with memory(settings) as again:
            found = await again.query(rows)
    assert {row[0] for row in found} == {*first, followed, away}
    assert {row[2] for row in found} == {1}
    assert len(found) == 4 * 7


async def _knows(made: Memory, job_id: str) -> bool:
    return sum(row[0] == job_id for row in await made.query(rows)) == 4


async def test_an_empty_log_is_caught_up_with_at_once(settings: Settings) -> None:
    """A fresh mesh has warm sages."""
    async with memory(settings) as made:
        assert await made.query(rows) == []


async def test_a_deleted_file_comes_back_with_the_same_rows(settings: Settings) -> None:
    """So does a broken one, and one with another schema; only the log counts."""
    async with HistoryWriter(settings) as writer:
        for _ in range(4):
            await writer.past(PastJob())
    async with memory(settings) as made:
        before, path = await made.query(rows), made.path
    path.unlink()
    async with memory(settings) as made:
        assert await made.query(rows) == before
    path.write_bytes(b"this is no database" * 1000)
    async with memory(settings) as made:
        assert await made.query(rows) == before
    async with memory(settings, version=2) as made:
        assert await made.query(rows) == before


async def test_another_incarnation_of_the_log_drops_what_the_file_has(settings: Settings, tmp_path: Path) -> None:
    """The same directory on a broker that has forgotten everything (here: other topics) begins anew."""
    async with HistoryWriter(settings) as writer:
        await writer.past(PastJob())
    async with memory(settings) as made:
        assert await made.query(rows) != []
    prefix = f"t{uuid4().hex[:12]}."
    async with fresh_topics(settings.kafka_bootstrap, "embedded", data_dir=tmp_path, topic_prefix=prefix) as other:
        async with HistoryWriter(other) as writer:
            job_id = await writer.past(PastJob())
        async with memory(other) as made:
            assert {row[0] for row in await made.query(rows)} == {job_id}


async def test_a_second_replica_takes_another_file(settings: Settings) -> None:
    """Two on one directory never write one file; both know the same."""
    async with HistoryWriter(settings) as writer:
        await writer.past(PastJob())
    async with memory(settings) as one, memory(settings) as two:
        assert (one.path.name, two.path.name) == ("counted.sqlite", "counted-2.sqlite")
        assert await one.query(rows) == await two.query(rows)


async def test_a_malformed_fact_is_counted_and_passed_over(settings: Settings) -> None:
    """What stands behind it is taken in, and the half of it that was written is not."""

    def writes_first(connection: sqlite3.Connection, record: ConsumedRecord) -> None:
        connection.execute("INSERT INTO facts VALUES (?, 'begun', 1)", (record.coordinates,))
        apply(connection, record)

    job_id = str(uuid4())
    async with HistoryWriter(settings) as writer:
        await writer.append_raw(job_id, [(now_ms(), "job.accepted", b"{"), (now_ms(), "no.such", b"{}")])
        await writer.append(job_id, [(now_ms(), accepted(job_id, PastJob()))])
    async with memory(settings, apply=writes_first) as made:
        found = await made.query(rows)
        assert made.skipped == 2
    assert [row[1] for row in found if row[0] == job_id] == ["job.accepted"]
    assert sum(row[1] == "begun" for row in found) == 1


@pytest.mark.parametrize(
    "failure",
    [sqlite3.OperationalError("database or disk is full"), sqlite3.DatabaseError("database disk image is malformed")],
)
async def test_it_goes_on_after_a_failed_transaction(settings: Settings, failure: sqlite3.Error) -> None:
    """The disk's or the file's trouble is no malformed fact: nothing is lost or doubled. A broken file is made anew."""
    failures = iter([failure])

    def fails_once(connection: sqlite3.Connection, record: ConsumedRecord) -> None:
        apply(connection, record)
        for each in failures:
            raise each

    async with HistoryWriter(settings) as writer:
        await writer.past(PastJob())
    async with memory(settings, apply=fails_once) as made:
        assert [row[2] for row in await made.query(rows)] == [1, 1, 1, 1]
        assert made.skipped == 0


async def test_what_a_table_refuses_is_the_records_fault(settings: Settings) -> None:
    """A value that SQLite cannot hold, or that a constraint forbids, is passed over like any malformed fact."""

    def refused(connection: sqlite3.Connection, record: ConsumedRecord) -> None:
        if record.header("ce_type") == "job.routed":
            connection.execute("INSERT INTO facts VALUES (?, ?, ?)", ({}, {}, {}))
        apply(connection, record)

    async with HistoryWriter(settings) as writer:
        await writer.past(PastJob())
    async with memory(settings, apply=refused) as made:
        assert len(await made.query(rows)) == 3
        assert made.skipped == 1


async def test_it_starts_before_the_broker_does(tmp_path: Path) -> None:
    """Nobody waits for a memory: without a broker it is warming, and says so when asked."""
    nowhere = Settings(kafka_bootstrap="127.0.0.1:9", broker_profile="embedded", data_dir=tmp_path, partitions=1)
    made = Memory(nowhere, "counted", [JOBS_HISTORY], SCHEMA, 1, apply)
    await made.start()
    try:
        assert made.is_warming
        with pytest.raises(RetryableError, match="not open"):
            await made.query(rows)
        with pytest.raises(RetryableError, match="not open"):
            _ = made.path
    finally:
        await made.close()


async def test_a_query_that_nobody_waits_for_is_interrupted(tmp_path: Path) -> None:
    """The next one does not wait behind it."""
    file = MemoryFile(tmp_path, "slow", "CREATE TABLE numbers (n INTEGER);")
    await file.open(Frame("i", 1, ()))
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await file.read(lambda connection: connection.execute(endless).fetchall())
        async with asyncio.timeout(60):
            assert await file.read(lambda connection: connection.execute("SELECT 1").fetchall()) == [(1,)]
    finally:
        file.close()


async def test_pruning_is_part_of_a_transaction(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every so many records the sage's bound is applied."""
    monkeypatch.setattr("services.sages.memory.table.PRUNE_EVERY", 4)

    def keep_none(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM facts")

    async with HistoryWriter(settings) as writer:
        await writer.past(PastJob())
    made = Memory(settings, "pruned", [JOBS_HISTORY], SCHEMA, 1, apply, prune=keep_none)
    await made.start()
    try:
        await wait_until(lambda: not made.is_warming, description="the memory has caught up")
        assert await made.query(rows) == []
    finally:
        await made.close()


async def test_closed_while_it_is_about_to_read(settings: Settings) -> None:
    """At whatever moment of its start it is closed: no connection is left (it would warn, so fail)."""
    for milliseconds in range(0, 60, 6):
        made = Memory(settings, "counted", [JOBS_HISTORY], SCHEMA, 1, apply)
        await made.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(milliseconds / 1000):
                await asyncio.Event().wait()
        await made.close()
    gc.collect()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
