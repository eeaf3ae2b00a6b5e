"""Spans of the embedded stack in one SQLite file, bounded: the newest are kept. One thread does all the work on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_VERSION = 1
_DAY_SECONDS = 86_400
_KEEP_WHEN_CUT = 0.9

_SCHEMA = f"""
CREATE TABLE span (
    seq INTEGER PRIMARY KEY,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    received_at REAL NOT NULL,
    bytes INTEGER NOT NULL,
    record BLOB NOT NULL,
    UNIQUE (trace_id, span_id)
);
PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened within a span. `time_ns` counts from 1970."""

    time_ns: int
    name: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """A span as it was received. Ids are lower-case hexadecimal; times are nanoseconds since 1970.

    `kind` is OTLP's number (1 internal, 2 server, 3 client, 4 producer, 5 consumer); `status` is `unset`, `ok` or
    `error`; a link is the trace id and span id of what it points to.
    """

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: int
    service_name: str
    service_instance: str
    start_ns: int
    end_ns: int
    status: str = "unset"
    status_message: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    events: tuple[SpanEvent, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """What is kept at most: number of spans, bytes of their records, days since they came."""

    spans: int = 500_000
    bytes: int = 512 * 1024 * 1024
    days: float = 7.0


class SpanStore:
    """The store on one file. At the limit of spans or bytes the oldest tenth goes; what is too old goes at once."""

    def __init__(self, path: Path, limits: StoreLimits, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._limits = limits
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="span-store")
        self._connection: sqlite3.Connection | None = None
        self._spans = 0
        self._bytes = 0

    @classmethod
    async def open(
        cls, path: Path, limits: StoreLimits | None = None, clock: Callable[[], float] = time.time
    ) -> SpanStore:
        """Open the file, or begin one. One that is broken, or of another release, is put aside as `NAME.old`.

        Raises:
            sqlite3.Error, OSError: the file cannot be made.
        """
        store = cls(path, limits or StoreLimits(), clock)
        try:
            await store._run(store._open)
        except BaseException:
            await store.close()
            raise
        return store

    async def add(self, spans: Sequence[StoredSpan]) -> None:
        """Keep spans; one that is already there is replaced. They are in the file when this returns.

        Raises:
            sqlite3.Error: they could not be written; none of them is kept.
        """
        records = [(span.trace_id, span.span_id, orjson.dumps(span, default=str)) for span in spans]
        await self._run(lambda: self._add(records))

    async def spans_of(self, trace_id: str) -> list[StoredSpan]:
        """All spans of a trace (32 lower-case hexadecimal digits), by start time.

        Raises:
            sqlite3.Error: the file could not be read.
        """
        found = [_decode(record) for record in await self._run(lambda: self._records_of(trace_id))]
        return sorted(found, key=lambda span: (span.start_ns, span.span_id))

    async def count(self) -> int:
        """Number of spans that are kept."""
        return await self._run(lambda: self._spans)

    async def close(self) -> None:
        """Close the file; what was added is kept."""
        await self._run(self._close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the span store is closed")
        return self._connection

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connect()
        except sqlite3.OperationalError:
            raise  # not allowed, locked, no space: another file would fare no better
        except sqlite3.DatabaseError as error:
            _LOG.warning("%s is put aside: %s", self.path, error)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self.path.replace(self.path.with_name(self.path.name + ".old"))
            self._connect()

    def _connect(self) -> None:
        self._connection = _connect(self.path)
        try:
            self._count()
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _count(self) -> None:
        self._spans, self._bytes = self._db.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM span").fetchone()

    def _add(self, records: Sequence[tuple[str, str, bytes]]) -> None:
        now = self._clock()
        try:
            with _transaction(self._db) as db:
                for trace_id, span_id, record in records:
                    gone = db.execute(
                        "DELETE FROM span WHERE trace_id = ? AND span_id = ? RETURNING bytes", (trace_id, span_id)
                    ).fetchone()
                    self._spans += 1 if gone is None else 0
                    self._bytes += len(record) - (0 if gone is None else gone[0])
                    db.execute(
                        "INSERT INTO span (trace_id, span_id, received_at, bytes, record) VALUES (?, ?, ?, ?, ?)",
                        (trace_id, span_id, now, len(record), record),
                    )
                self._drop(db, now)
        except BaseException:
            self._count()  # what the transaction had counted is void
            raise

    def _drop(self, db: sqlite3.Connection, now: float) -> None:
        """Drop what is too old, and above a limit the oldest until nine tenths of it are left, so that it is seldom."""
        limits = self._limits
        keep = 1.0 if self._spans <= limits.spans and self._bytes <= limits.bytes else _KEEP_WHEN_CUT
        too_old = now - limits.days * _DAY_SECONDS
        spans, size, last = self._spans, self._bytes, 0
        for seq, length, received_at in db.execute("SELECT seq, bytes, received_at FROM span ORDER BY seq"):
            if received_at >= too_old and spans <= limits.spans * keep and size <= limits.bytes * keep:
                break
            spans, size, last = spans - 1, size - length, seq
        if last:
            db.execute("DELETE FROM span WHERE seq <= ?", (last,))
            self._spans, self._bytes = spans, size

    def _records_of(self, trace_id: str) -> list[bytes]:
        return [row[0] for row in self._db.execute("SELECT record FROM span WHERE trace_id = ?", (trace_id,))]


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None)
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # A crash of the machine may cost the newest spans; a crash of the process costs none.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 16777216")
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == 0:
        connection.executescript(_SCHEMA)
    elif found != _VERSION:
        raise sqlite3.DatabaseError(f"its schema is version {found}, not {_VERSION}")


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _decode(record: bytes) -> StoredSpan:
    fields = orjson.loads(record)
    fields["events"] = tuple(SpanEvent(**event) for event in fields["events"])
    fields["links"] = tuple((trace_id, span_id) for trace_id, span_id in fields["links"])
    return StoredSpan(**fields)
