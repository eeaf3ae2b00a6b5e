"""Where a log ends, on brokers that do not all tell."""

from __future__ import annotations

import asyncio

from aiokafka import TopicPartition

from eldermesh.client.kafka import end_positions
from shared.broker import make_producer
from shared.history.kafka_log import KafkaPartitionLog
from shared.topics import JOBS_HISTORY
from tests.fresh_topics import AnyBroker, fresh_topics


async def test_ends_behind_a_batch_of_several_records(any_broker: AnyBroker) -> None:
    """After batches of 1, 4 and 3 records client and owner both see 1, 5 and 8."""
    async with fresh_topics(any_broker.bootstrap, any_broker.profile) as settings:
        producer = make_producer(settings)
        await producer.start()
        log = KafkaPartitionLog(settings, JOBS_HISTORY, 0, producer)
        await log.start()
        partition = TopicPartition(settings.topic(JOBS_HISTORY), 0)
        try:
            assert (await log.bounds()).end == 0
            written = 0
            for size in (1, 4, 3):
                sent = [await producer.send(partition.topic, b"{}", partition=0) for _ in range(size)]
                await asyncio.gather(*sent)
                written += size
                assert (await log.bounds()).end == written
                assert (await end_positions(settings.kafka_bootstrap, [partition]))[partition] == written
        finally:
            await log.stop()
            await producer.stop()
