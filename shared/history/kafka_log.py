"""A history partition on Kafka: a consumer without a group that seeks to the owner's place, and its producer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from aiokafka import TopicPartition
from opentelemetry import metrics

from eldermesh.contract.times import printable_ms
from eldermesh.kafka.errors import KafkaUnavailableError, OffsetOutsideLogError
from eldermesh.kafka.log_bounds import log_bounds
from eldermesh.kafka.replacing_producer import OutgoingRecord
from eldermesh.kafka.unreadable import UnreadableRecord
from shared.errors import LostOwnershipError, RecordTooLargeError, RetryableError
from shared.facts.fact import UnreadableFactError
from shared.history.facts import FactRecord
from shared.history.log import Bounds
from shared.history.machine import NewFact, Publication
from shared.kafka.clients import make_consumer
from shared.kafka.paced_consumer import PacedConsumer
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
    """

    def __init__(self, settings: Settings, topic: str, partition: int, producer: Producer) -> None:
        self._settings = settings
        self._partition = TopicPartition(settings.topic(topic), partition)
        self._producer = producer
        self._started: PacedConsumer | None = None
        self._next: int | None = None
        self._lag = metrics.get_meter(__name__).create_gauge(metric_names.OWNER_LAG.name, metric_names.OWNER_LAG.unit)
        self._attributes = {
            names.MESSAGING_DESTINATION_NAME: self._partition.topic,
            names.MESSAGING_DESTINATION_PARTITION_ID: str(partition),
        }

    @property
    def _consumer(self) -> PacedConsumer:
        if self._started is None:
            raise RuntimeError("the log of a partition is read before its start")
        return self._started

    async def start(self) -> None:
        """Connect; after a failure it may be tried again.

        Raises:
            RetryableError: the broker did not answer.
        """
        consumer = make_consumer(self._settings, auto_offset_reset="none")
        await _limited(consumer.start())
        self._started = consumer

    async def stop(self) -> None:
        """Disconnect."""
        self._lag.set(0, self._attributes)  # the next owner measures it
        if self._started is not None:
            await self._started.stop()

    async def bounds(self) -> Bounds:
        """Start and end of the log, as of now."""
        self._next = None  # it moves the consumer
        try:
            found = await _limited(log_bounds(self._consumer, [self._partition]), seconds=_BOUNDS_SECONDS)
        except OffsetOutsideLogError as error:
            raise LostOwnershipError(f"the end of {self._partition} is gone: {error!r}") from error
        start, end = found[self._partition]
        if start < end:
            self._lag.set(0, self._attributes)  # until a read measures it
        return Bounds(start, end)

    async def read(self, offset: int, *, max_records: int, wait_seconds: float) -> Sequence[FactRecord]:
        """Records from `offset` on, waiting for the first one."""
        if self._next != offset:
            if not self._consumer.assignment():
                # Only now, so that the client never looks for a position of its own.
                self._consumer.assign([self._partition])
            self._consumer.seek(self._partition, offset)
            self._next = offset
        try:
            async with asyncio.timeout(wait_seconds + _CALL_SECONDS):
                batch = await self._consumer.getmany(
                    self._partition, timeout_ms=max(0, round(wait_seconds * 1000)), max_records=max_records
                )
        except OffsetOutsideLogError as error:
            self._next = None
            raise LostOwnershipError(f"offset {offset} lies outside {self._partition}") from error
        except (KafkaUnavailableError, TimeoutError) as error:
            self._next = None
            raise RetryableError(f"reading {self._partition} failed: {error!r}") from error
        except asyncio.CancelledError:
            self._next = None
            raise
        records = [_fact_record(record) for record in batch.get(self._partition, ())]
        if records:
            self._next = records[-1].offset + 1
            highwater = self._consumer.highwater(self._partition) or 0
            self._lag.set(max(0, highwater - self._next), self._attributes)
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
