"""Everything that stands in a topic now."""

from __future__ import annotations

from typing import Any

from aiokafka import TopicPartition

from eldermesh.client.kafka import end_positions
from shared.kafka.clients import make_consumer
from shared.settings import Settings


async def end_offsets(settings: Settings, topic: str) -> dict[int, int]:
    """The end offset of each partition of a topic (its name without prefix)."""
    partitions = [TopicPartition(settings.topic(topic), number) for number in range(settings.partition_count)]
    ends = await end_positions(settings.kafka, partitions)
    return {partition.partition: ends[partition] for partition in partitions}


async def read_topic(settings: Settings, topic: str) -> list[Any]:
    """All records of a topic (its name without prefix), by partition and offset."""
    ends = await end_offsets(settings, topic)
    partitions = [TopicPartition(settings.topic(topic), number) for number, end in ends.items() if end]
    if not partitions:
        return []
    consumer = make_consumer(settings)
    await consumer.start()
    try:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        records: list[Any] = []
        unread = {partition.partition: ends[partition.partition] for partition in partitions}
        while unread:
            for partition, batch in (await consumer.getmany(*partitions, timeout_ms=200)).items():
                records += batch
                if batch[-1].offset + 1 >= ends[partition.partition]:
                    unread.pop(partition.partition, None)
    finally:
        await consumer.stop()
    return sorted(records, key=lambda record: (record.partition, record.offset))
