"""Owners of one process read their partitions with one consumer, and do not hinder each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.protocol.fetch import FetchRequest

from eldermesh.kafka.errors import OffsetOutsideLogError
from eldermesh.kafka.replacing_producer import OutgoingRecord
from shared.history import history_reader
from shared.history.history_reader import HistoryReader
from shared.kafka.clients import make_producer
from shared.kafka.service_producer import Producer
from shared.kafka.topics import JOBS_HISTORY
from shared.settings import Settings
from tests.fresh_topics import AnyBroker, fresh_topics


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[tuple[HistoryReader, Producer, list[TopicPartition]]]:
    """A reader with two partitions open, and a producer."""
    reader = HistoryReader(settings, JOBS_HISTORY)
    partitions = [TopicPartition(settings.topic(JOBS_HISTORY), number) for number in range(2)]
    async with make_producer(settings) as producer:
        try:
            for partition in partitions:
                await reader.open(partition)
            yield reader, producer, partitions
        finally:
            for partition in partitions:
                await reader.close(partition)


async def write(producer: Producer, partition: TopicPartition, records: int) -> None:
    """Append so many records."""
    await producer.send_all([OutgoingRecord(partition.topic, b"{}", b"k", partition.partition)] * records)


async def read(reader: HistoryReader, partition: TopicPartition, offset: int, number: int) -> list[int]:
    """The offsets of so many records."""
    offsets: list[int] = []
    async with asyncio.timeout(30):
        while len(offsets) < number:
            some = await reader.read(partition, offset + len(offsets), most=number - len(offsets), wait_seconds=1.0)
            offsets += [record.offset for record in some]
    return offsets


async def test_one_fetch_asks_for_all_partitions(any_broker: AnyBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each owner gets its own records, from where it stands."""
    asked: list[int] = []

    def noting_request(*arguments: Any, **options: Any) -> FetchRequest:
        topics: Sequence[tuple[str, Sequence[Any]]] = arguments[4]
        asked.append(sum(len(partitions) for _, partitions in topics))
        return FetchRequest(*arguments, **options)

    async with fresh_topics(any_broker.bootstrap, any_broker.profile) as settings, reading(settings) as parts:
        reader, producer, (first, second) = parts
        await write(producer, first, 3)
        await write(producer, second, 5)
        assert await read(reader, first, 0, 3) == [0, 1, 2]
        assert await read(reader, second, 2, 3) == [2, 3, 4]
        monkeypatch.setattr(fetcher, "FetchRequest", noting_request)
        waiting = [asyncio.ensure_future(read(reader, first, 3, 1)), asyncio.ensure_future(read(reader, second, 5, 1))]
        await write(producer, first, 1)
        await write(producer, second, 1)
        assert [await each for each in waiting] == [[3], [5]]
        assert await read(reader, first, 1, 3) == [1, 2, 3], "an owner that loads again reads from another place"
    assert 2 in asked


async def test_an_owner_that_is_behind_hinders_no_other(any_broker: AnyBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """One partition is not read for long: no more than a bound is kept of it, and the other one goes on."""
    monkeypatch.setattr(history_reader, "_ENOUGH_RECORDS", 20)
    monkeypatch.setattr(history_reader, "_POLL_RECORDS", 10)
    async with fresh_topics(any_broker.bootstrap, any_broker.profile) as settings, reading(settings) as parts:
        reader, producer, (behind, other) = parts
        await write(producer, behind, 200)
        assert await read(reader, behind, 0, 1) == [0]
        for offset in range(20):
            await write(producer, other, 1)
            assert await read(reader, other, offset, 1) == [offset]
        assert await read(reader, behind, 1, 199) == list(range(1, 200))


async def test_an_offset_outside_a_log_is_an_error_of_its_owner_alone(apache_kafka: str) -> None:
    """The other partition is read on; so is this one, once its owner knows where it stands."""
    async with fresh_topics(apache_kafka, "kafka") as settings, reading(settings) as parts:
        reader, producer, (wrong, other) = parts
        await write(producer, wrong, 2)
        await write(producer, other, 2)
        with pytest.raises(OffsetOutsideLogError):
            await read(reader, wrong, 1000, 1)
        assert await read(reader, other, 0, 2) == [0, 1]
        assert await read(reader, wrong, 0, 2) == [0, 1]


async def test_it_connects_again_after_the_last_was_closed(any_broker: AnyBroker) -> None:
    """As after the group has taken all partitions away and given some back."""
    async with fresh_topics(any_broker.bootstrap, any_broker.profile) as settings, reading(settings) as parts:
        reader, producer, (first, second) = parts
        await write(producer, first, 2)
        assert await read(reader, first, 0, 1) == [0]
        await reader.close(first)
        await reader.close(second)
        await reader.open(first)
        assert await read(reader, first, 1, 1) == [1]
        assert (await reader.bounds(first)).end == 2


async def test_a_read_is_bounded_in_bytes(any_broker: AnyBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch brings many large facts; a read gives as many as may be folded at once, and all come."""
    monkeypatch.setattr(history_reader, "_READ_BYTES", 50_000)
    async with fresh_topics(any_broker.bootstrap, any_broker.profile) as settings, reading(settings) as parts:
        reader, producer, (partition, _) = parts
        await producer.send_all([OutgoingRecord(partition.topic, b"x" * 10_000, b"k", partition.partition)] * 40)
        sizes: list[int] = []
        async with asyncio.timeout(30):
            while sum(sizes) < 40:
                sizes.append(len(await reader.read(partition, sum(sizes), most=500, wait_seconds=1.0)))
        assert max(sizes) <= 5
        assert sum(sizes) == 40


async def test_an_owner_that_never_waits_learns_that_its_offset_is_gone(apache_kafka: str) -> None:
    """One with much to do asks for facts without a time to wait."""

    async def ask_again_and_again() -> None:
        while True:
            await reader.read(partition, 1000, most=10, wait_seconds=0.0)

    async with fresh_topics(apache_kafka, "kafka") as settings, reading(settings) as parts:
        reader, producer, (partition, _) = parts
        await write(producer, partition, 1)
        with pytest.raises(OffsetOutsideLogError):
            await asyncio.wait_for(ask_again_and_again(), 30)
