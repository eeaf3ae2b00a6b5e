"""The SQLite file of a memory: used by one process, with one thread that writes and one that reads."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from services.sages.loop_calls import LoopCalls
from shared.errors import ConfigurationError, RetryableError

_T = TypeVar("_T")

MAX_REPLICAS: Final = 64
"""Memories with one name in one directory; each has its own file."""

_BUSY_SECONDS = 5.0
_FRAME_SQL = """
CREATE TABLE memory_frame (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE memory_offsets (topic TEXT, partition INTEGER, next INTEGER NOT NULL, PRIMARY KEY (topic, partition))
    WITHOUT ROWID;
"""

Place = tuple[str, int]
"""Topic, with prefix, and partition."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a file was built from; a file with another frame is deleted."""

    incarnation: str
    schema_version: int
    topics: tuple[str, ...]

    def rows(self) -> list[tuple[str, str]]:
        """As rows of `memory_frame`."""
        return [
            ("incarnation", self.incarnation),
            ("schema_version", str(self.schema_version)),
            ("topics", "\n".join(self.topics)),
        ]


class MemoryFile:
    """`<directory>/<name>.sqlite`, or `<name>-2.sqlite` and so on if other processes use the first ones.

    Args:
        directory: of the files; created if it is missing.
        name: of the sage.
        schema_sql: creates the sage's tables.
    """

    def __init__(self, directory: Path, name: str, schema_sql: str) -> None:
        self._directory = directory
        self._name = name
        self._schema_sql = schema_sql
        self._lock: int | None = None
        self._path: Path | None = None
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._writing = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-writer")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-reader")
        self._answers: LoopCalls | None = None
        self._queried: asyncio.Future[Any] | None = None
        """The answer of the query that runs now; under its lock, which whoever interrupts it holds."""
        self._queried_lock = threading.Lock()

    @property
    def path(self) -> Path:
        """The file in use.

        Raises:
            RetryableError: the file is not open yet.
        """
        if self._path is None:
            raise RetryableError(f"the memory {self._name} is not open yet")
        return self._path

    async def open(self, frame: Frame) -> dict[Place, int]:
        """Open the file, emptied if its frame differs; return the offsets to resume at. It is used from this loop.

        Raises:
            ConfigurationError: the directory cannot be used.
        """
        self._answers = LoopCalls(asyncio.get_running_loop())
        return await asyncio.wrap_future(self._writing.submit(self._open, frame))

    async def write(self, work: Callable[[sqlite3.Connection], _T], offsets: Mapping[Place, int]) -> _T:
        """Run `work` in a transaction that also stores the offsets.

        Raises:
            sqlite3.Error: nothing was written.
        """
        return await asyncio.wrap_future(self._writing.submit(self._write, work, offsets))

    async def read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run a query on the reading thread, one at a time. Cancelling this interrupts the query.

        Raises:
            RetryableError: the file is not open.
            sqlite3.Error: the query's own.
        """
        connection, answers = self._reader, self._answers
        if connection is None or answers is None:
            raise RetryableError(f"the memory {self._name} is not open yet")
        answer: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        future = self._reading.submit(self._query, query, connection, answer)
        future.add_done_callback(lambda done: answers.soon(partial(_settle, answer, done)))
        try:
            return await answer
        except asyncio.CancelledError:
            # Otherwise the next queries would wait for a result that nobody needs.
            if not future.cancel():
                with self._queried_lock:
                    if self._queried is answer:
                        connection.interrupt()
            raise

    def _query(
        self, query: Callable[[sqlite3.Connection], _T], connection: sqlite3.Connection, answer: asyncio.Future[_T]
    ) -> _T:
        """On the reading thread: run a query, which may be interrupted from now on, and no other in its place."""
        with self._queried_lock:
            self._queried = answer
        try:
            return query(connection)
        finally:
            with self._queried_lock:
                self._queried = None

    async def discard(self) -> None:
        """Delete the file, for example because it is broken; `open` creates an empty one."""
        await asyncio.wrap_future(self._writing.submit(self._discard))

    def close(self) -> None:
        """Close the file; call it once. Waits for the current transaction."""
        self._writing.submit(self._close_connections).result()
        self._reading.shutdown(cancel_futures=True)
        self._writing.shutdown(cancel_futures=True)
        if self._lock is not None:
            os.close(self._lock)

    def _open(self, frame: Frame) -> dict[Place, int]:
        self._close_connections()
        try:
            if self._lock is None:
                self._take_file()
            try:
                return self._connect(frame)
            except sqlite3.DatabaseError:  # not a database, or a broken one; the topics have everything in it
                self._discard()
                return self._connect(frame)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"the memory {self._name} cannot be kept in {self._directory}: {error}") from error

    def _take_file(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in range(1, MAX_REPLICAS + 1):
            stem = self._name if number == 1 else f"{self._name}-{number}"
            lock = os.open(self._directory / f"{stem}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            self._lock, self._path = lock, self._directory / f"{stem}.sqlite"
            return
        raise ConfigurationError(f"{MAX_REPLICAS} memories {self._name} are open in {self._directory} already")

    def _connect(self, frame: Frame) -> dict[Place, int]:
        writer = self._writer = self._connection()
        if not _is_framed(writer, frame):
            self._discard()
            writer = self._writer = self._connection()
            writer.executescript(_FRAME_SQL + self._schema_sql)
            # Last, so that an unfinished file has no frame.
            writer.executemany("INSERT INTO memory_frame VALUES (?, ?)", frame.rows())
        self._reader = self._connection()
        self._reader.execute("PRAGMA query_only = ON")
        rows = writer.execute("SELECT topic, partition, next FROM memory_offsets").fetchall()
        return {(topic, partition): following for topic, partition, following in rows}

    def _connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # what a power failure loses is read again
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _write(self, work: Callable[[sqlite3.Connection], _T], offsets: Mapping[Place, int]) -> _T:
        connection = self._writer
        if connection is None:
            raise RetryableError(f"the memory {self._name} is not open")
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.executemany(
                "INSERT INTO memory_offsets VALUES (?, ?, ?)"
                " ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next",
                [(topic, partition, following) for (topic, partition), following in offsets.items()],
            )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _discard(self) -> None:
        self._close_connections()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _close_connections(self) -> None:
        reader, self._reader = self._reader, None
        writer, self._writer = self._writer, None
        if reader is not None:
            reader.interrupt()
            self._reading.submit(reader.close).result()  # after the query that may still use it
        if writer is not None:
            writer.close()


def _settle(answer: asyncio.Future[_T], query: Future[_T]) -> None:
    if answer.done():
        return  # nobody waits for it
    if query.cancelled():
        answer.cancel()
    elif (error := query.exception()) is not None:
        answer.set_exception(error)
    else:
        answer.set_result(query.result())


def _is_framed(connection: sqlite3.Connection, frame: Frame) -> bool:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'memory_frame'").fetchone() is None:
        return False
    return set(connection.execute("SELECT name, value FROM memory_frame")) == set(frame.rows())
