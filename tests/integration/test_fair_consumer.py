"""Partitions take turns: read with the real client from a real broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import TopicPartition

from shared.kafka.clients import make_consumer
from shared.kafka.topics import JOBS
from shared.settings import Settings
from tests.fresh_topics import fresh_topics
from tests.hostile_batches import batch_of, publish_batch
from tests.waiting import wait_until

Poll = Callable[[], Awaitable[dict[int, int]]]
"""Records of one poll, by partition."""


async def _with(settings: Settings, use: Callable[[Poll], Awaitable[None]], counts: list[int]) -> None:
    """Fetch so many records of each partition, in the order of the list, then poll for ten at a time."""
    topic = settings.topic(JOBS)
    consumer: Any = make_consumer(settings)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(len(counts))]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        for partition, count in zip(partitions, counts, strict=True):
            # In one batch: what comes later is not fetched while there is something to be read.
            await publish_batch(settings, JOBS, partition.partition, batch_of([b"{}"] * count))

            def is_fetched(partition: TopicPartition = partition, count: int = count) -> bool:
                return bool(consumer.highwater(partition) == count)

            await wait_until(is_fetched, description="its records are fetched")

        async def poll() -> dict[int, int]:
            batches = await consumer.getmany(timeout_ms=5000, max_records=10)
            return {partition.partition: len(records) for partition, records in batches.items()}

        await use(poll)
    finally:
        await consumer.stop()


async def test_one_that_is_full_holds_up_no_other(embedded_broker: str) -> None:
    """What the others hold comes with the next poll, and the long one goes on after that."""

    async def use(poll: Poll) -> None:
        assert await poll() == {0: 10}
        assert await poll() == {1: 3, 2: 2}
        assert [await poll() for _ in range(9)] == [{0: 10}] * 9

    async with fresh_topics(embedded_broker, "embedded") as settings:
        await _with(settings, use, [100, 3, 2])


async def test_full_ones_alternate(embedded_broker: str) -> None:
    """The one that was cut short because another one came first has its turn next."""

    async def use(poll: Poll) -> None:
        got = [await poll() for _ in range(6)]
        assert got == [{0: 9, 1: 1}, {1: 10}, {2: 10}, {1: 10}, {2: 10}, {1: 9, 2: 1}]

    async with fresh_topics(embedded_broker, "embedded") as settings:
        await _with(settings, use, [9, 30, 21])
