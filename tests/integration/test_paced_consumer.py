"""How long a consumer lets the broker wait, read off the fetches that it really sends."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.protocol.fetch import FetchRequest

from shared.kafka.clients import FETCH_WAIT_MS, make_consumer, make_producer
from shared.kafka.paced_consumer import IDLE_FETCH_WAIT_MS
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


async def test_only_an_idle_consumer_lets_the_broker_wait(any_broker: AnyBroker, fetch_waits: list[int]) -> None:
    """Short waits first, long ones without records, short ones again after the next; Kafka's are long enough."""
    busy_ms = FETCH_WAIT_MS[any_broker.profile]
    idle_ms = max(busy_ms, IDLE_FETCH_WAIT_MS)
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
