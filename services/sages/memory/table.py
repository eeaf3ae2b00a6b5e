"""A sage's memory: SQLite tables built from all partitions of some topics, without a consumer group.

Every replica reads everything. Rows and offsets are written in one SQLite transaction, so a restart resumes where it
stopped. After another incarnation of the log, another schema, a deleted or a broken file it reads from the start again.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

from aiokafka import TopicPartition
from opentelemetry import metrics

from eldermesh.kafka.consumer import assign_at
from eldermesh.kafka.log_bounds import log_bounds
from services.sages.memory.file import Frame, MemoryFile, Place
from shared.consumer.record import ConsumedRecord
from shared.kafka.clients import STEADY_IDLE_FETCH_WAIT_MS, make_consumer
from shared.kafka.incarnation import read_or_create_incarnation
from shared.kafka.paced_consumer import PacedConsumer
from shared.kafka.topics import JOBS_DONE, JOBS_HISTORY
from shared.logs.exceptions import told
from shared.logs.setup import get_logger
from shared.settings import Settings
from shared.telemetry import metric_names, names

_T = TypeVar("_T")

Apply = Callable[[sqlite3.Connection, ConsumedRecord], None]
"""Writes a record to the tables, inside the caller's transaction, on the writing thread."""

BATCH_RECORDS: Final = 500
PRUNE_EVERY: Final = 1000
"""Records between two calls of `prune`."""

_OF_JOBS = frozenset((JOBS_HISTORY, JOBS_DONE))
_GATHER_MS = 250
_GATHER_BYTES = 1024 * 1024
"""What jobs say is learned so much later, but for the first of it after a pause: the broker gathers it, and an answer
has many records. What people write, as documents, is learned at once: they ask right after."""
_POLL_MS = 500
_CALL_SECONDS = 15.0
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 10.0

_ERRORS_OF_A_RECORD = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError)

_log = get_logger(__name__)
_skipped = metrics.get_meter("eldermesh").create_counter(
    metric_names.MEMORY_SKIPPED.name, metric_names.MEMORY_SKIPPED.unit, metric_names.MEMORY_SKIPPED.meaning
)


def sages_directory(settings: Settings) -> Path:
    """The directory of all sages' files."""
    return settings.data_dir / "sages"


class Memory:
    """Tables built from topics.

    A record that cannot be read, or for which `apply` raises, is counted, logged and skipped.

    Args:
        settings: the cluster, and the data directory.
        name: of the file.
        topics: names without prefix.
        schema_sql: creates the tables; no `IF NOT EXISTS` is needed.
        schema_version: a file with another version is deleted.
        apply: writes one record to the tables.
        prune: deletes what is over the sage's limit; called every `PRUNE_EVERY` records, in their transaction.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        topics: Sequence[str],
        schema_sql: str,
        schema_version: int,
        apply: Apply,
        *,
        prune: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self._settings = settings
        self._name = name
        self._topics = tuple(settings.topic(topic) for topic in topics)
        self._topics_of_jobs = tuple(settings.topic(topic) for topic in topics if topic in _OF_JOBS)
        self._topics_of_people = tuple(settings.topic(topic) for topic in topics if topic not in _OF_JOBS)
        self._schema_version = schema_version
        self._apply = apply
        self._prune = prune
        self._unpruned = 0
        self._file = MemoryFile(sages_directory(settings), name, schema_sql)
        self._reading: asyncio.Task[None] | None = None
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._next: dict[Place, int] = {}
        self._targets: dict[Place, int] = {}
        self.is_warming = True
        """Whether records from before the start are still missing in the tables."""
        self.skipped = 0
        """Records that could not be read or applied, since the start."""

    @property
    def path(self) -> Path:
        """The file in use.

        Raises:
            RetryableError: the file is not open yet.
        """
        return self._file.path

    async def start(self) -> None:
        """Begin to read, in a task that retries every failure with back-off."""
        self._reading = asyncio.create_task(self._keep_reading(), name=f"memory {self._name}")

    async def query(self, fn: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run a query on the reading thread.

        Raises:
            RetryableError: the file is not open yet.
            sqlite3.Error: the query's own.
        """
        return await self._file.read(fn)

    async def close(self) -> None:
        """Stop reading and close the file."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
            self._reading = None
        await asyncio.to_thread(self._file.close)

    async def _keep_reading(self) -> None:
        while True:
            try:
                await self._read()
            except Exception as error:  # noqa: BLE001 - a memory keeps trying until it is closed
                _log.warning("memory stopped reading; it goes on", memory=self._name, error=told(error))
                if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                    self.is_warming = True
                    await self._file.discard()
            await asyncio.sleep(self._pause_seconds)
            self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _read(self) -> None:
        incarnation = await read_or_create_incarnation(self._settings)
        self._next = await self._file.open(Frame(incarnation, self._schema_version, self._topics))
        self._targets = {}
        async with AsyncExitStack() as stack:
            consumers = [
                await self._consumer(topics, stack, **options)
                for topics, options in (
                    (self._topics_of_jobs, {"fetch_min_bytes": _GATHER_BYTES, "fetch_max_wait_ms": _GATHER_MS}),
                    (self._topics_of_people, {}),
                )
                if topics
            ]
            try:
                async with asyncio.TaskGroup() as following:
                    for consumer in consumers:
                        following.create_task(self._follow(consumer))
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from failures

    async def _follow(self, consumer: PacedConsumer) -> None:
        while True:
            self._look_whether_warm()
            batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=BATCH_RECORDS)
            await self._take([record for records in batches.values() for record in records])
            self._pause_seconds = _FIRST_PAUSE_SECONDS

    async def _consumer(self, topics: Sequence[str], stack: AsyncExitStack, **options: Any) -> PacedConsumer:
        """A consumer at the stored offsets, or at the start of the log where that is later; `stack` stops it."""
        idle_wait_ms = STEADY_IDLE_FETCH_WAIT_MS[self._settings.broker_profile]
        consumer = make_consumer(self._settings, idle_wait_ms=idle_wait_ms, **options)
        stack.push_async_callback(consumer.stop)
        await consumer.start()
        partitions = [
            TopicPartition(topic, number) for topic in topics for number in range(self._settings.partition_count)
        ]
        async with asyncio.timeout(_CALL_SECONDS):
            bounds = await log_bounds(consumer, partitions)
        self._targets |= {_place(partition): end for partition, (start, end) in bounds.items() if start < end}
        following = {
            partition: max(self._next.get(_place(partition), 0), start) for partition, (start, _) in bounds.items()
        }
        assign_at(consumer, following)
        return consumer

    async def _take(self, raw: Sequence[Any]) -> None:
        prefix = self._settings.topic_prefix
        offsets: dict[Place, int] = {}
        records: list[ConsumedRecord] = []
        for each in raw:
            place = (each.topic, each.partition)
            if each.offset >= self._next.get(place, 0):
                records.append(ConsumedRecord.of(each, prefix=prefix))
                offsets[place] = each.offset + 1
        if not records:
            return
        self._unpruned += len(records)
        is_pruning = self._prune is not None and self._unpruned >= PRUNE_EVERY

        def work(connection: sqlite3.Connection) -> list[tuple[str, str]]:
            refused = [
                (record.coordinates, error)
                for record in records
                if (error := self._refusal(connection, record)) is not None
            ]
            if is_pruning and self._prune is not None:
                self._prune(connection)
            return refused

        refused = await self._file.write(work, offsets)
        self._next |= offsets
        if is_pruning:
            self._unpruned = 0
        if refused:
            self.skipped += len(refused)
            _skipped.add(len(refused), {names.SAGE: self._name})
            coordinates, error = refused[0]
            _log.warning(
                "memory passes over records", memory=self._name, records=len(refused), first=coordinates, error=error
            )

    def _refusal(self, connection: sqlite3.Connection, record: ConsumedRecord) -> str | None:
        """Apply a record; if that raises, return the error's class. Its message may quote the record."""
        if record.unreadable is not None:
            return record.unreadable.reason
        connection.execute("SAVEPOINT record")
        try:
            self._apply(connection, record)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and not isinstance(error, _ERRORS_OF_A_RECORD):
                raise  # trouble with the disk or the file
            # A bad record must not stop those behind it.
            connection.execute("ROLLBACK TO record")
            return type(error).__name__
        finally:
            if connection.in_transaction:
                connection.execute("RELEASE record")
        return None

    def _look_whether_warm(self) -> None:
        if not self.is_warming or any(self._next.get(place, 0) < target for place, target in self._targets.items()):
            return
        self.is_warming = False
        _log.info("memory has caught up", memory=self._name, records=sum(self._next.values()), skipped=self.skipped)


def _place(partition: TopicPartition) -> Place:
    return partition.topic, partition.partition
