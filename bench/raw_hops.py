"""Raw Kafka hops: aiokafka, JSON, acks=all, a commit for each record; each hop a consumer group of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import orjson
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic

from shared.kafka.clients import make_admin, make_consumer
from shared.kafka.service_producer import make_plain_producer
from shared.settings import Settings

_WAIT_SECONDS = 30.0
_BURST_SECONDS = 300.0


class RawHops:
    """A chain of hops that runs."""

    def __init__(self, first: str, producer: Any, last: Any) -> None:
        self._first = first
        self._producer = producer
        self._last = last

    async def round_trip(self) -> float:
        """Milliseconds from the first send until the record has passed all hops."""
        value = orjson.dumps({"job_id": str(uuid4()), "workload": "python", "items": [4.0]})
        began = time.perf_counter()
        await self._producer.send_and_wait(self._first, value)
        async with asyncio.timeout(_WAIT_SECONDS):
            await self._last.getone()
        return (time.perf_counter() - began) * 1000

    async def burst(self, records: int) -> float:
        """Seconds of this process' processor time for so many records, from the first send until all have passed."""
        value = orjson.dumps({"job_id": str(uuid4()), "workload": "python", "items": [4.0]})
        began = time.process_time()
        for sent in [await self._producer.send(self._first, value) for _ in range(records)]:
            await sent
        async with asyncio.timeout(_BURST_SECONDS):
            for _ in range(records):
                await self._last.getone()
        return time.process_time() - began


@asynccontextmanager
async def raw_hops(settings: Settings, hops: int) -> AsyncIterator[RawHops]:
    """Run `hops` hops in this process, over topics with the prefix of `settings`."""
    topics = [f"{settings.topic_prefix}raw{n}" for n in range(hops + 1)]
    admin = make_admin(settings)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1) for topic in topics])
    await admin.close()
    async with AsyncExitStack() as stack:
        producer = make_plain_producer(settings, client_id="raw")
        await producer.start()
        stack.push_async_callback(producer.stop)
        last = make_consumer(settings)
        last.assign([TopicPartition(topics[-1], 0)])
        await last.start()
        stack.push_async_callback(last.stop)
        consumers = []
        for topic in topics[:-1]:
            consumer = make_consumer(settings, group_id=f"{topic}-group")
            consumer.subscribe([topic])
            stack.push_async_callback(consumer.stop)
            consumers.append(consumer)
        await asyncio.gather(*(consumer.start() for consumer in consumers))
        tasks = [
            asyncio.create_task(_hop(consumer, producer, target))
            for consumer, target in zip(consumers, topics[1:], strict=True)
        ]
        try:
            yield RawHops(topics[0], producer, last)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _hop(consumer: Any, producer: Any, target: str) -> None:
    while True:
        record = await consumer.getone()
        await producer.send_and_wait(target, orjson.dumps(orjson.loads(record.value)))
        await consumer.commit()
