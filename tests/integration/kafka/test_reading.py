"""What cannot be read of a topic, on real brokers: whoever reads gets to know, and reads on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException

from eldermesh.client.kafka import started_consumer
from eldermesh.kafka import decompression, unreadable
from eldermesh.kafka.replacing_producer import OutgoingRecord
from eldermesh.kafka.unreadable import UnreadableRecord
from shared.errors import ConfigurationError
from shared.facts.fact import UnreadableFactError
from shared.history.kafka_log import KafkaPartitionLog
from shared.kafka.clients import make_producer
from shared.kafka.incarnation import read_or_create_incarnation
from shared.kafka.service_producer import Producer
from shared.kafka.topics import JOBS, JOBS_HISTORY, MESH_META
from shared.settings import Settings
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.hostile_batches import batch_of, broken_compression, ending_at, publish_batch, unreadable_header

_ROUNDS = 3_000
"""Calls of each publisher."""


@pytest.fixture
async def any_settings(any_broker: AnyBroker) -> AsyncIterator[Settings]:
    """Topics of this test on each broker in turn."""
    async with fresh_topics(any_broker.bootstrap, any_broker.profile) as settings:
        yield settings


@pytest.fixture
async def settings(embedded_broker: str) -> AsyncIterator[Settings]:
    """Topics of this test on the embedded broker, which takes what Apache Kafka refuses."""
    async with fresh_topics(embedded_broker, "embedded") as settings:
        yield settings


async def read(settings: Settings, count: int) -> list[Any]:
    """Records of the inbox's first partition, at least so many."""
    partition = TopicPartition(settings.topic(JOBS), 0)
    found: list[Any] = []
    async with asyncio.timeout(180), started_consumer(settings.kafka) as consumer:
        consumer.assign([partition])
        while len(found) < count:
            found += (await consumer.getmany(timeout_ms=500)).get(partition, [])
    return found


async def test_good_and_bad_batches_in_a_row(any_settings: Settings) -> None:
    """Each good record once, an `UnreadableRecord` for each bad one, in order."""
    expected: list[bytes | None] = []
    for number in range(3):
        await publish_batch(any_settings, JOBS, 0, batch_of([b"%d" % number] * 2, codec="zstd"))
        await publish_batch(any_settings, JOBS, 0, unreadable_header([b"bad"] * 3))
        expected += [b"%d" % number] * 2 + [None] * 3
    found = await read(any_settings, len(expected))
    assert [record.offset for record in found] == list(range(len(expected)))
    assert [record.value for record in found] == expected
    assert [isinstance(record, UnreadableRecord) for record in found] == [value is None for value in expected]


async def test_a_fetch_unpacks_little_more_than_one_batch_may_have(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many small batches that unpack to much come a few at a time, and all of them come."""
    for module in (decompression, unreadable):
        monkeypatch.setattr(module, "MAX_BATCH_BYTES", 1_000_000)
    for _ in range(10):
        await publish_batch(settings, JOBS, 0, batch_of([bytes(600_000)], codec="zstd"))
    partition = TopicPartition(settings.topic(JOBS), 0)
    sizes: list[int] = []
    async with asyncio.timeout(60), started_consumer(settings.kafka) as consumer:
        consumer.assign([partition])
        while sum(sizes) < 10:
            sizes.append(len((await consumer.getmany(timeout_ms=500)).get(partition, [])))
    assert max(sizes) == 2
    assert sum(sizes) == 10


async def test_a_batch_that_says_it_has_a_billion_records(settings: Settings) -> None:
    """The first of them are told, and the last for the rest; what follows is read."""
    await publish_batch(settings, JOBS, 0, ending_at(broken_compression([b"x"] * 3, "zstd"), 1 << 30))
    await publish_batch(settings, JOBS, 0, batch_of([b"behind"]))
    found = await read(settings, unreadable.MAX_TOLD + 2)
    assert [record.offset for record in found] == [*range(unreadable.MAX_TOLD), 1 << 30, (1 << 30) + 1]
    assert f"the {(1 << 30) - unreadable.MAX_TOLD} records before it" in found[-2].unreadable.reason
    assert found[-1].value == b"behind"


async def test_a_batch_that_does_not_match_its_checksum(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetched anew it may be whole; one that never is is passed over, offset by offset."""
    checked: list[bool] = []
    whole = unreadable._Batches.next_batch  # noqa: SLF001 - no broker here takes such a batch

    def next_batch(batches: Any) -> Any:
        batch = whole(batches)
        if batch.base_offset == 2:
            return batch
        checked.append(batch.base_offset == 1)
        if (batch.base_offset == 0 and len(checked) <= 2) or batch.base_offset == 1:
            batches.current = None
            raise CorruptRecordException
        return batch

    monkeypatch.setattr(unreadable._Batches, "next_batch", next_batch)  # noqa: SLF001
    for value in (b"damaged on its way", b"damaged", b"whole"):
        await publish_batch(settings, JOBS, 0, batch_of([value]))
    found = await read(settings, 3)
    assert [record.value for record in found] == [b"damaged on its way", None, b"whole"]
    assert checked == [False] * 3 + [True] * unreadable.DAMAGED_AFTER


async def test_a_reader_beside_several_publishers_misses_nothing(any_settings: Settings) -> None:
    """The embedded broker may show a record before an earlier one of another publisher."""
    topic = any_settings.topic(JOBS)
    producers = [make_producer(any_settings) for _ in range(4)]

    async def publish(producer: Producer) -> list[int]:
        return [
            metadata.offset
            for number in range(_ROUNDS)
            for metadata in await producer.send_all([OutgoingRecord(topic, b"x", b"k", 0)] * (1 + number % 4))
        ]

    async with AsyncExitStack() as started:
        for producer in producers:
            await producer.start()
            started.push_async_callback(producer.stop)
        async with asyncio.TaskGroup() as tasks:
            publishing = [tasks.create_task(publish(producer)) for producer in producers]
            sizes = [1 + number % 4 for number in range(_ROUNDS)]
            reading = tasks.create_task(read(any_settings, sum(sizes) * len(producers)))
    acknowledged = [offset for task in publishing for offset in task.result()]
    assert [record.offset for record in reading.result()] == sorted(acknowledged)


async def test_a_fact_is_never_passed_over(any_settings: Settings) -> None:
    """Whoever folds a history stops there, and says where."""
    await publish_batch(any_settings, JOBS_HISTORY, 1, unreadable_header([b"{}"]))
    log = KafkaPartitionLog(any_settings, JOBS_HISTORY, 1, make_producer(any_settings))
    await log.start()
    try:
        with pytest.raises(UnreadableFactError, match=r"jobs\.history/1, offset 0: .*UnicodeDecodeError"):
            await log.read(0, max_records=10, wait_seconds=10)
    finally:
        await log.stop()


async def test_an_incarnation_is_never_passed_over(settings: Settings) -> None:
    """Another one would throw away what everybody knows."""
    await read_or_create_incarnation(settings)
    await publish_batch(settings, MESH_META, 0, unreadable_header([b"x"]))
    with pytest.raises(ConfigurationError, match=r"mesh\.meta, offset 1: .*UnicodeDecodeError"):
        await read_or_create_incarnation(settings)
