"""A panel that the test plays: it reads what was accepted and says what the test wants, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiokafka import TopicPartition

from shared.facts.fact import FACT_TYPE_HEADER
from shared.facts.jobs import AdviceEntry, JobAccepted, JobAdvised
from shared.history.facts import fact_headers
from shared.kafka.clients import make_consumer, make_producer
from shared.kafka.topics import JOBS_HISTORY
from shared.settings import Settings

Says = Callable[[JobAccepted], tuple[AdviceEntry, ...] | None]
"""What is said of a job; None: nothing, ever."""


@asynccontextmanager
async def played_panel(settings: Settings, says: Says) -> AsyncIterator[None]:
    """Speaks of every job of this mesh, old or new, while the context is open."""
    topic = settings.topic(JOBS_HISTORY)
    consumer = make_consumer(settings)
    producer = make_producer(settings, client_id="played-panel")
    await consumer.start()
    await producer.start()

    async def speak() -> None:
        while True:
            for batch in (await consumer.getmany(timeout_ms=100)).values():
                for record in batch:
                    if dict(record.headers).get(FACT_TYPE_HEADER) != JobAccepted.fact_type.encode():
                        continue
                    entries = says(JobAccepted.model_validate_json(record.value))
                    if entries is not None:
                        fact = JobAdvised(entries=entries)
                        headers = fact_headers(fact.fact_type, record.key.decode(), None)
                        await producer.send_and_wait(
                            topic, fact.encode(), key=record.key, partition=record.partition, headers=headers
                        )

    partitions = [TopicPartition(topic, number) for number in range(settings.partition_count)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    speaking = asyncio.create_task(speak())
    try:
        yield
        assert not speaking.done(), "the panel has stopped"
    finally:
        speaking.cancel()
        await asyncio.wait({speaking})
        await producer.stop()
        await consumer.stop()
