"""How long a consumer lets the broker wait, and for how much, read off the fetches that it really sends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.protocol.fetch import FetchRequest

from eldermesh.kafka.replacing_producer import OutgoingRecord
from shared.kafka.clients import FETCH_WAIT_MS, IDLE_FETCH_WAIT_MS, make_consumer, make_producer
from shared.kafka.paced_consumer import BUSY_RECORDS_A_SECOND, GATHER_BYTES, GATHER_MS
from shared.kafka.topics import JOBS
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.waiting import wait_until


@pytest.fixture
def fetch_waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The longest wait that each fetch asks for, milliseconds."""
    waits: list[int] = []

    def noting_request(max_wait_ms: int, *arguments: Any, **options: Any) -> FetchRequest:
        waits.append(max_wait_ms)
        return FetchRequest(max_wait_ms, *arguments, **options)

    monkeypatch.setattr(fetcher, "FetchRequest", noting_request)
    return waits


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The longest wait that each fetch asks for, milliseconds, and for how many bytes it waits."""
    noted: list[tuple[int, int]] = []

    def noting_request(max_wait_ms: int, min_bytes: int, *arguments: Any, **options: Any) -> FetchRequest:
        noted.append((max_wait_ms, min_bytes))
        return FetchRequest(max_wait_ms, min_bytes, *arguments, **options)

    monkeypatch.setattr(fetcher, "FetchRequest", noting_request)
    return noted


async def test_only_an_idle_consumer_lets_the_broker_wait(any_broker: AnyBroker, fetch_waits: list[int]) -> None:
    """Short waits first, long ones without records, short ones again after the next; Kafka's are long enough."""
    busy_ms = FETCH_WAIT_MS[any_broker.profile]
    idle_ms = IDLE_FETCH_WAIT_MS[any_broker.profile]
    async with fresh_topics(any_broker.bootstrap, any_broker.profile) as settings:
        producer, consumer = make_producer(settings), make_consumer(settings)
        await producer.start()
        await consumer.start()
        try:
            partition = TopicPartition(settings.topic(JOBS), 0)
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)

            async def polled_into(wait_ms: int) -> bool:
                await consumer.getmany(timeout_ms=50)
                return fetch_waits[-1:] == [wait_ms]

            await wait_until(lambda: polled_into(busy_ms), description="fetches are short")
            await wait_until(lambda: polled_into(idle_ms), description="fetches are long")
            await producer.send_and_wait(partition.topic, b"{}", partition=0)
            batches: dict[Any, list[Any]] = await wait_until(
                lambda: consumer.getmany(timeout_ms=50), description="the record is there"
            )
            assert [record.value for record in batches[partition]] == [b"{}"]
            await wait_until(lambda: polled_into(busy_ms), description="fetches are short again")
            assert set(fetch_waits) == {busy_ms, idle_ms}
        finally:
            await consumer.stop()
            await producer.stop()


async def test_a_busy_consumer_has_the_broker_gather(any_broker: AnyBroker, fetches: list[tuple[int, int]]) -> None:
    """While many records come; the first one after that is answered at once again. No record is lost by it."""
    busy_ms = FETCH_WAIT_MS[any_broker.profile]
    gathering = (min(GATHER_MS, busy_ms), GATHER_BYTES)
    async with (
        fresh_topics(any_broker.bootstrap, any_broker.profile) as settings,
        make_producer(settings) as producer,
    ):
        consumer = make_consumer(settings)
        await consumer.start()
        try:
            partition = TopicPartition(settings.topic(JOBS), 0)
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            sent = received = 0

            async def gathers() -> bool:
                nonlocal sent, received
                some = [OutgoingRecord(partition.topic, b"{}", partition=0)] * BUSY_RECORDS_A_SECOND
                await producer.send_all(some)
                sent += len(some)
                received += sum(map(len, (await consumer.getmany(timeout_ms=50)).values()))
                return fetches[-1:] == [gathering]

            async def is_prompt() -> bool:
                nonlocal received
                received += sum(map(len, (await consumer.getmany(timeout_ms=50)).values()))
                return fetches[-1][1] == 1

            await wait_until(gathers, description="fetches wait for more than one record")
            await wait_until(is_prompt, description="fetches wait for one record")
            assert received == sent
        finally:
            await consumer.stop()


async def test_a_long_poll_notices_that_nothing_comes(any_broker: AnyBroker, fetch_waits: list[int]) -> None:
    """Its caller need not ask again for fetches to become long, nor for the next record; one may keep it awake."""
    busy_ms, idle_ms = FETCH_WAIT_MS[any_broker.profile], 700
    async with (
        fresh_topics(any_broker.bootstrap, any_broker.profile) as settings,
        make_producer(settings) as producer,
    ):
        consumer = make_consumer(settings, idle_wait_ms=idle_ms)
        await consumer.start()
        try:
            partition = TopicPartition(settings.topic(JOBS), 0)
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            polling = asyncio.create_task(consumer.getmany(timeout_ms=60_000))
            await wait_until(lambda: fetch_waits[-1:] == [idle_ms], description="fetches are long")
            consumer.stay_awake()
            await wait_until(lambda: fetch_waits[-1:] == [busy_ms], description="fetches are short")
            assert not polling.done()
            await producer.send_and_wait(partition.topic, b"{}", partition=0)
            batches = await polling
            assert [record.value for record in batches[partition]] == [b"{}"]
        finally:
            await consumer.stop()
