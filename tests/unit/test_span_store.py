"""The span store: what is kept, and for how long."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from eldermesh_cli.stack.telemetry.span_store import SpanEvent, SpanStore, StoredSpan, StoreLimits

TRACE = "ab" * 16


def _span(number: int, *, trace_id: str = TRACE, name: str = "process item", padding: int = 0) -> StoredSpan:
    return StoredSpan(
        trace_id=trace_id,
        span_id=f"{number:016x}",
        parent_span_id=None if number == 0 else f"{0:016x}",
        name=name,
        kind=1,
        service_name="router",
        service_instance="i",
        start_ns=number * 1_000,
        end_ns=number * 1_000 + 500,
        attributes={"padding": "x" * padding, "n": number, "many": [1, "two"]},
        events=(SpanEvent(number, "exception", {"exception.type": "E"}),),
        links=((TRACE, f"{7:016x}"),),
    )


async def test_what_is_added_is_found_again(tmp_path: Path) -> None:
    """All fields survive, also the closing and opening of the file; other traces are not mixed in."""
    path = tmp_path / "deep" / "spans.sqlite"
    store = await SpanStore.open(path)
    await store.add([_span(2), _span(1), _span(3, trace_id="cd" * 16)])
    assert await store.spans_of(TRACE) == [_span(1), _span(2)]
    await store.close()
    store = await SpanStore.open(path)
    assert await store.spans_of(TRACE) == [_span(1), _span(2)]
    assert await store.spans_of("00" * 16) == []
    assert await store.count() == 3
    await store.close()


async def test_a_span_that_is_sent_again_is_kept_once(tmp_path: Path) -> None:
    """An exporter that missed the answer repeats its batch; the last of a span counts."""
    store = await SpanStore.open(tmp_path / "s.sqlite")
    await store.add([_span(1), _span(2)])
    await store.add([_span(2, name="later"), _span(1), _span(1)])
    assert [span.name for span in await store.spans_of(TRACE)] == ["process item", "later"]
    assert await store.count() == 2
    await store.close()


async def test_the_newest_spans_are_kept(tmp_path: Path) -> None:
    """At the limit of spans the oldest go, a tenth at a time."""
    store = await SpanStore.open(tmp_path / "s.sqlite", StoreLimits(spans=100))
    for number in range(250):
        await store.add([_span(number)])
        assert await store.count() <= 100
    kept = [int(span.span_id, 16) for span in await store.spans_of(TRACE)]
    assert kept == list(range(250 - len(kept), 250))
    assert len(kept) >= 90
    await store.close()


async def test_bytes_are_bounded_and_the_file_stops_growing(tmp_path: Path) -> None:
    """At the limit of bytes the oldest go; their place in the file is used again."""
    path = tmp_path / "s.sqlite"
    store = await SpanStore.open(path, StoreLimits(bytes=500_000))
    sizes = []
    for number in range(60):
        await store.add([_span(number * 10 + n, padding=3_000) for n in range(10)])
        sizes.append(path.stat().st_size)
    assert await store.count() < 500_000 / 3_000
    await store.close()
    assert path.stat().st_size < 1_500_000
    assert await asyncio.to_thread(_stored_bytes, path) <= 500_000


def _stored_bytes(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT sum(length(record)) FROM span").fetchone()[0])
    finally:
        connection.close()


async def test_old_spans_go_by_days(tmp_path: Path) -> None:
    """What came longer ago than the limit is gone at the next write."""
    now = 1_000_000.0
    store = await SpanStore.open(tmp_path / "s.sqlite", StoreLimits(days=7), clock=lambda: now)
    await store.add([_span(1)])
    now += 6 * 86_400
    await store.add([_span(2)])
    assert await store.count() == 2
    now += 2 * 86_400
    await store.add([_span(3)])
    assert [int(span.span_id, 16) for span in await store.spans_of(TRACE)] == [2, 3]
    await store.close()


@pytest.mark.parametrize("content", [b"this is no database" * 100, b""])
async def test_a_file_that_is_no_store_is_put_aside(tmp_path: Path, content: bytes) -> None:
    """Traces are not worth a mesh that does not start; an empty file is simply begun."""
    path = tmp_path / "s.sqlite"
    path.write_bytes(content)
    store = await SpanStore.open(path)
    await store.add([_span(1)])
    assert await store.count() == 1
    await store.close()
    assert path.with_name("s.sqlite.old").exists() == bool(content)


async def test_another_schema_is_put_aside(tmp_path: Path) -> None:
    """A file that another release wrote is kept as `.old`."""
    path = tmp_path / "s.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    store = await SpanStore.open(path)
    await store.add([_span(1)])
    await store.close()
    assert path.with_name("s.sqlite.old").exists()


async def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A directory where the file should be: the caller is told, and no thread stays."""
    (tmp_path / "s.sqlite").mkdir()
    with pytest.raises(sqlite3.OperationalError):
        await SpanStore.open(tmp_path / "s.sqlite")


async def test_writers_and_readers_at_once(tmp_path: Path) -> None:
    """Twenty writers and readers in one loop: nothing is lost."""
    store = await SpanStore.open(tmp_path / "s.sqlite")

    async def write(first: int) -> None:
        for number in range(first, first + 20):
            await store.add([_span(number)])
            await store.spans_of(TRACE)

    await asyncio.gather(*(write(first) for first in range(0, 400, 20)))
    assert await store.count() == 400
    await store.close()
    assert await asyncio.to_thread(os.listdir, tmp_path) == ["s.sqlite"]
