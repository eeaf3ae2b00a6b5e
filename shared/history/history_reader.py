"""Reads all partitions of a history that a process owns with one consumer: one fetch asks for all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any

from aiokafka import TopicPartition

from eldermesh.kafka.consumer import assign_at
from eldermesh.kafka.errors import KafkaUnavailableError, OffsetOutsideLogError
from eldermesh.kafka.log_bounds import LogBounds, log_bounds
from eldermesh.shield import to_its_end
from shared.kafka.clients import FETCH_WAIT_MS, make_consumer
from shared.kafka.paced_consumer import PacedConsumer
from shared.settings import Settings

_POLL_RECORDS = 500
_ENOUGH_RECORDS = 1000
_ENOUGH_BYTES = 4 * 1024 * 1024
"""A partition with so many records, or bytes, that its owner has not read yet gets no more until it has."""

_READ_BYTES = 4 * 1024 * 1024
"""After so many bytes a read ends: what is read at once is folded, and written to Redis, at once."""

_POLL_MS = 1000
_FULL_POLL_MS = 20
"""A poll that leaves out a partition with enough records ends so soon: meanwhile its owner may have read them."""

_FETCH_WAIT_MS = 100
"""A partition that is opened, or had enough, is asked for once the fetch that is under way has been answered. So no
fetch takes longer, but for those of a history in which nothing has been opened or read for a second (clients.py)."""

_BACK_OFF_SECONDS = 0.5


class _Fetched:
    """What was fetched of one partition and not read yet."""

    def __init__(self) -> None:
        self.records: deque[Any] = deque()
        self.size_bytes = 0
        self.next: int | None = None
        """The offset of the next record to be read; None while nobody reads the partition."""
        self.failure: KafkaUnavailableError | None = None
        self.changed = asyncio.Event()

    def start_at(self, offset: int | None) -> None:
        """Forget what was fetched, and what failed."""
        self.records.clear()
        self.size_bytes = 0
        self.next, self.failure = offset, None
        self.changed.clear()

    def put(self, records: Sequence[Any]) -> None:
        """There is more to read."""
        self.records.extend(records)
        self.size_bytes += sum(map(_size_bytes, records))
        self.changed.set()

    @property
    def has_room(self) -> bool:
        """Whether more of it is to be fetched."""
        return len(self.records) < _ENOUGH_RECORDS and self.size_bytes < _ENOUGH_BYTES

    def take(self, most: int) -> list[Any]:
        """The next records: `most` at most, and none after `_READ_BYTES`."""
        taken: list[Any] = []
        left = _READ_BYTES
        while self.records and len(taken) < most and left > 0:
            record = self.records.popleft()
            left -= _size_bytes(record)
            taken.append(record)
        if taken:
            self.next = taken[-1].offset + 1
            self.size_bytes -= _READ_BYTES - left
        if not self.records:
            self.changed.clear()
        return taken

    def fail(self, failure: KafkaUnavailableError) -> None:
        """Whoever reads next is told. Until then what is fetched is thrown away."""
        self.start_at(None)
        self.failure = failure
        self.changed.set()


class HistoryReader:
    """The partitions of one history, read by their owners; connected while at least one is open.

    Args:
        settings: of the cluster.
        topic: the history topic's name, without prefix.
    """

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._partitions = [TopicPartition(settings.topic(topic), n) for n in range(settings.partition_count)]
        self._fetched = {partition: _Fetched() for partition in self._partitions}
        self._open: set[TopicPartition] = set()
        self._opening = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._clients: tuple[PacedConsumer, PacedConsumer] | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def open(self, partition: TopicPartition) -> None:
        """Begin to read a partition; the first one connects.

        Raises:
            KafkaUnavailableError: not connected.
        """
        async with self._opening:
            if self._clients is None:
                self._clients = await self._connected()
                self._fetching = asyncio.create_task(
                    self._keep_fetching(self._clients[0]), name=f"fetching {partition.topic}"
                )
                self._fetching.add_done_callback(self._ended)
            self._open.add(partition)

    async def close(self, partition: TopicPartition) -> None:
        """Read a partition no longer; the last one disconnects."""
        await to_its_end(self._close(partition))

    async def _close(self, partition: TopicPartition) -> None:
        async with self._opening:
            self._open.discard(partition)
            if self._clients is None:
                return
            self._leave(partition)
            if self._open:
                return
            (consumer, asking), self._clients = self._clients, None
            if self._fetching is not None:
                self._fetching.cancel()
                await asyncio.wait({self._fetching})
            await consumer.stop()
            await asking.stop()

    async def bounds(self, partition: TopicPartition) -> LogBounds:
        """Start and end of a partition, as of now. It waits without a limit of its own.

        Raises:
            KafkaUnavailableError: as `log_bounds`.
        """
        async with self._asking:
            _, asking = self._connection
            found = await log_bounds(asking, [partition])
            asking.pause(*asking.assignment())  # it has read what it was to read
            return found[partition]

    async def read(self, partition: TopicPartition, offset: int, *, most: int, wait_seconds: float) -> list[Any]:
        """Records of a partition from `offset` on, `most` of them at most, waiting for the first one.

        Raises:
            OffsetOutsideLogError: the log has no such offset.
            KafkaUnavailableError: the broker did not answer, or refused.
        """
        fetched = self._fetched[partition]
        if fetched.next != offset and fetched.failure is None:
            self._seek(partition, offset)
        if not fetched.records and wait_seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await fetched.changed.wait()
        else:
            await asyncio.sleep(0)
        if self._fetching is not None and self._fetching.done():
            self._fetching.result()
        if fetched.failure is not None:
            failure = fetched.failure
            fetched.start_at(None)
            raise failure
        return fetched.take(most)

    def highwater(self, partition: TopicPartition) -> int:
        """Where the log of a partition ended at the last fetch; 0 before the first."""
        consumer, _ = self._connection
        return consumer.highwater(partition) or 0

    @property
    def _connection(self) -> tuple[PacedConsumer, PacedConsumer]:
        if self._clients is None:
            raise RuntimeError("a history is read before it was opened")
        return self._clients

    async def _connected(self) -> tuple[PacedConsumer, PacedConsumer]:
        """A consumer that reads, and another one that is asked for bounds, which moves it."""
        wait_ms = min(_FETCH_WAIT_MS, FETCH_WAIT_MS[self._settings.broker_profile])
        async with contextlib.AsyncExitStack() as started:
            clients = []
            for _ in range(2):
                client = make_consumer(self._settings, auto_offset_reset="none", fetch_max_wait_ms=wait_ms)
                await client.start()
                started.push_async_callback(client.stop)
                clients.append(client)
            started.pop_all()
        consumer, asking = clients
        # Positions are set at once, so that the client never looks for one of its own.
        assign_at(consumer, dict.fromkeys(self._partitions, 0))
        consumer.pause(*self._partitions)
        return consumer, asking

    def _seek(self, partition: TopicPartition, offset: int) -> None:
        consumer, _ = self._connection
        self._fetched[partition].start_at(offset)
        consumer.stay_awake()  # those opened after it are asked for once the next fetch has been answered
        consumer.seek(partition, offset)
        consumer.resume(partition)

    def _leave(self, partition: TopicPartition) -> None:
        consumer, _ = self._connection
        self._fetched[partition].start_at(None)
        consumer.pause(partition)

    async def _keep_fetching(self, consumer: PacedConsumer) -> None:
        while True:
            try:
                await self._fetch(consumer)
            except OffsetOutsideLogError as error:
                for partition in _outside(error):
                    consumer.pause(partition)
                    self._fetched[partition].fail(error)
            except KafkaUnavailableError as error:
                for partition in self._open:
                    self._fetched[partition].fail(error)
                await asyncio.sleep(_BACK_OFF_SECONDS)

    async def _fetch(self, consumer: PacedConsumer) -> None:
        wanted = [partition for partition, fetched in self._fetched.items() if fetched.has_room]
        if len(wanted) == len(self._fetched):
            batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
        elif wanted:
            consumer.stay_awake()  # the others are asked for once the fetch under way has been answered
            batches = await consumer.getmany(*wanted, timeout_ms=_FULL_POLL_MS, max_records=_POLL_RECORDS)
        else:
            batches = {}
            await asyncio.sleep(_FULL_POLL_MS / 1000)
        for partition, records in batches.items():
            if self._fetched[partition].next is not None:
                self._fetched[partition].put(records)

    def _ended(self, fetching: asyncio.Task[None]) -> None:
        if not fetching.cancelled():
            fetching.exception()  # each reader raises it
        for fetched in self._fetched.values():
            fetched.changed.set()


def _size_bytes(record: Any) -> int:
    return len(record.value or b"")


def _outside(error: OffsetOutsideLogError) -> Sequence[TopicPartition]:
    """The partitions that the error is of."""
    (offsets,) = error.cause.args
    return list(offsets)
