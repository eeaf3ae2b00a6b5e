"""Inboxes from the outside: published to by a plain client that is not ours, and read back record by record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka import TopicPartition
from confluent_kafka import Producer

from eldermesh.contract.records import PublicRecord
from shared.kafka.clients import make_consumer
from shared.settings import Settings

Codec = Literal["none", "gzip", "snappy", "lz4", "zstd"]
CODECS: tuple[Codec, ...] = ("none", "gzip", "snappy", "lz4", "zstd")

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A record to publish. Without a partition, the client's own partitioner decides."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int | None = None
    timestamp_ms: int | None = None


async def publish(settings: Settings, topic: str, records: Iterable[Sent], *, codec: Codec = "none") -> None:
    """Publish with confluent-kafka (librdkafka) and wait until all are acknowledged."""
    await asyncio.to_thread(_publish, settings, settings.topic(topic), list(records), codec)


def _publish(settings: Settings, topic: str, records: list[Sent], codec: Codec) -> None:
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka_bootstrap,
            "compression.type": codec,
            "linger.ms": 20,
            "message.max.bytes": 4_000_000,
            "message.timeout.ms": int(_SECONDS * 1000),
        }
    )
    failures: list[str] = []

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            failures.append(str(error))

    for record in records:
        options: dict[str, Any] = {"headers": list(record.headers)} if record.headers else {}
        if record.partition is not None:
            options["partition"] = record.partition
        if record.timestamp_ms is not None:
            options["timestamp"] = record.timestamp_ms
        producer.produce(topic, value=record.value, key=record.key, on_delivery=delivered, **options)
        producer.poll(0)
    assert producer.flush(_SECONDS) == 0, "not all records were acknowledged"
    assert failures == []


async def read_all(settings: Settings, topic: str) -> list[PublicRecord]:
    """Every record that the topic holds now, partition by partition."""
    consumer = make_consumer(settings)
    await consumer.start()
    try:
        partitions = [TopicPartition(settings.topic(topic), number) for number in range(settings.partition_count)]
        consumer.assign(partitions)
        ends = {each: end for each, end in (await consumer.end_offsets(partitions)).items() if end}
        found: list[PublicRecord] = []
        async with asyncio.timeout(_SECONDS):
            while [each for each, end in ends.items() if await consumer.position(each) < end]:
                for records in (await consumer.getmany(*ends, timeout_ms=200)).values():
                    found += [
                        PublicRecord(topic, each.partition, each.offset, each.key, tuple(each.headers), each.value)
                        for each in records
                    ]
        return sorted(found, key=lambda record: (record.partition, record.offset))
    finally:
        await consumer.stop()


async def committed(settings: Settings, topic: str, group: str) -> dict[int, int]:
    """What the group has committed, by partition; partitions without a commit are left out."""
    consumer = make_consumer(settings, group_id=settings.topic(group))
    await consumer.start()
    try:
        partitions = [TopicPartition(settings.topic(topic), number) for number in range(settings.partition_count)]
        consumer.assign(partitions)
        offsets = {each.partition: await consumer.committed(each) for each in partitions}
        return {number: offset for number, offset in offsets.items() if offset is not None}
    finally:
        await consumer.stop()
