"""A history partition on Kafka, as its owner reads and writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from aiokafka import TopicPartition
from opentelemetry import metrics

from eldermesh.contract.times import printable_ms
from eldermesh.kafka.errors import KafkaUnavailableError, OffsetOutsideLogError
from eldermesh.kafka.replacing_producer import OutgoingRecord
from eldermesh.kafka.unreadable import UnreadableRecord
from shared.errors import LostOwnershipError, RecordTooLargeError, RetryableError
from shared.facts.fact import UnreadableFactError
from shared.history.facts import FactRecord
from shared.history.history_reader import HistoryReader
from shared.history.log import Bounds
from shared.history.machine import NewFact, Publication
from shared.kafka.service_producer import Producer
from shared.settings import Settings
from shared.telemetry import metric_names, names

_CALL_SECONDS = 15.0
_BOUNDS_SECONDS = 3 * _CALL_SECONDS
"""It asks for the start, for the end, and for a record."""

_T = TypeVar("_T")


class KafkaPartitionLog:
    """`PartitionLog` on Kafka.

    Args:
        settings: of the cluster.
        topic: the history topic's name, without prefix.
        partition: the partition, also of all records published beside it.
        producer: shared by all partitions of a process.
        reader: of this history, shared by all partitions of a process; by default one for this partition alone.
    """

    def __init__(
        self, settings: Settings, topic: str, partition: int, producer: Producer, reader: HistoryReader | None = None
    ) -> None:
        self._settings = settings
        self._partition = TopicPartition(settings.topic(topic), partition)
        self._producer = producer
        self._reader = reader or HistoryReader(settings, topic)
        self._lag = metrics.get_meter(__name__).create_gauge(metric_names.OWNER_LAG.name, metric_names.OWNER_LAG.unit)
        self._attributes = {
            names.MESSAGING_DESTINATION_NAME: self._partition.topic,
            names.MESSAGING_DESTINATION_PARTITION_ID: str(partition),
        }

    async def start(self) -> None:
        """Connect; after a failure it may be tried again.

        Raises:
            RetryableError: the broker did not answer.
        """
        await _limited(self._reader.open(self._partition))

    async def stop(self) -> None:
        """Disconnect."""
        self._lag.set(0, self._attributes)  # the next owner measures it
        await self._reader.close(self._partition)

    async def bounds(self) -> Bounds:
        """Start and end of the log, as of now."""
        try:
            start, end = await _limited(self._reader.bounds(self._partition), seconds=_BOUNDS_SECONDS)
        except OffsetOutsideLogError as error:
            raise LostOwnershipError(f"the end of {self._partition} is gone: {error!r}") from error
        if start < end:
            self._lag.set(0, self._attributes)  # until a read measures it
        return Bounds(start, end)

    async def read(self, offset: int, *, max_records: int, wait_seconds: float) -> Sequence[FactRecord]:
        """Records from `offset` on, waiting for the first one."""
        try:
            found = await self._reader.read(self._partition, offset, most=max_records, wait_seconds=wait_seconds)
        except OffsetOutsideLogError as error:
            raise LostOwnershipError(f"offset {offset} lies outside {self._partition}") from error
        except KafkaUnavailableError as error:
            raise RetryableError(f"reading {self._partition} failed: {error!r}") from error
        records = [_fact_record(record) for record in found]
        if records:
            left = self._reader.highwater(self._partition) - records[-1].offset - 1
            self._lag.set(max(0, left), self._attributes)
        return records

    async def append(self, facts: Sequence[tuple[str, NewFact]]) -> Sequence[int]:
        """Append facts and return their offsets, acknowledged."""
        return await self._send([self._record(self._partition.topic, key, fact) for key, fact in facts])

    async def publish(self, publications: Sequence[Publication]) -> None:
        """Publish public records into the same partition of their topics."""
        await self._send([self._record(self._settings.topic(p.topic), p.key, p) for p in publications])

    def _record(self, topic: str, key: str, content: NewFact | Publication) -> OutgoingRecord:
        return OutgoingRecord(topic, content.value, key.encode(), self._partition.partition, content.headers)

    async def _send(self, records: Sequence[OutgoingRecord]) -> list[int]:
        try:
            return [metadata.offset for metadata in await self._producer.send_all(records)]
        except RecordTooLargeError as error:
            # Facts and publications are made to fit: a topic here takes less than `shared.kafka.topics` says.
            raise RetryableError(str(error)) from error


def _fact_record(record: Any) -> FactRecord:
    if isinstance(record, UnreadableRecord):
        # Skipping it would lose a fact for good.
        place = f"{record.topic}/{record.partition}, offset {record.offset}"
        raise UnreadableFactError(f"{place}: {record.unreadable.reason}")
    fact_type = next((value for name, value in record.headers if name == "ce_type"), b"")
    return FactRecord(
        offset=record.offset,
        time_ms=printable_ms(record.timestamp),
        key=(record.key or b"").decode("utf-8", "replace"),
        fact_type=fact_type.decode("utf-8", "replace"),
        value=record.value or b"",
    )


async def _limited(call: Awaitable[_T], seconds: float = _CALL_SECONDS) -> _T:
    # Not `wait_for`: on Python 3.11 it swallows a cancellation that meets the call's end, and the owner would live on.
    try:
        async with asyncio.timeout(seconds):
            return await call
    except OffsetOutsideLogError:
        raise
    except (KafkaUnavailableError, TimeoutError) as error:
        raise RetryableError(f"the broker did not answer: {error!r}") from error
