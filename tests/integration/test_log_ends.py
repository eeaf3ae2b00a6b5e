"""Where a log ends, on brokers that do not all tell."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition

from eldermesh.client.kafka import end_positions
from eldermesh.kafka.replacing_producer import OutgoingRecord
from shared.errors import LostOwnershipError
from shared.history.kafka_log import KafkaPartitionLog
from shared.kafka.clients import make_producer
from shared.kafka.topics import JOBS_HISTORY
from shared.telemetry import metric_names, names
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.metric_reader import metric_reader


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
                await producer.send_all([OutgoingRecord(partition.topic, b"{}", partition=0)] * size)
                written += size
                assert (await log.bounds()).end == written
                assert (await end_positions(settings.kafka, [partition]))[partition] == written
        finally:
            await log.stop()
            await producer.stop()


async def test_an_offset_that_the_log_does_not_have(apache_kafka: str) -> None:
    """Its owner is told that something moved underneath; asked for its bounds, the same log goes on.

    The embedded broker says nothing of such an offset.
    """
    async with fresh_topics(apache_kafka, "kafka") as settings, make_producer(settings) as producer:
        log = KafkaPartitionLog(settings, JOBS_HISTORY, 0, producer)
        await log.start()
        try:
            await producer.send_all([OutgoingRecord(settings.topic(JOBS_HISTORY), b"{}", b"a", 0)] * 3)
            with pytest.raises(LostOwnershipError):
                await log.read(1000, max_records=1, wait_seconds=10.0)
            assert await log.bounds() == (0, 3)
            assert [record.offset for record in await log.read(1, max_records=1, wait_seconds=10.0)] == [1]
        finally:
            await log.stop()


async def test_the_lag_is_what_is_left_to_fold(any_broker: AnyBroker) -> None:
    """Of eight facts three are read, then the rest: the metric says five, then none."""
    async with fresh_topics(any_broker.bootstrap, any_broker.profile) as settings:
        producer = make_producer(settings)
        await producer.start()
        with metric_reader() as reader:
            log = KafkaPartitionLog(settings, JOBS_HISTORY, 0, producer)
            await log.start()
            try:
                await producer.send_all([OutgoingRecord(settings.topic(JOBS_HISTORY), b"{}", b"a", 0)] * 8)
                left = []
                offset = 0
                for most in (3, 500):
                    records = await log.read(offset, max_records=most, wait_seconds=10.0)
                    offset = records[-1].offset + 1
                    left.append(reader.values(metric_names.OWNER_LAG, names.MESSAGING_DESTINATION_PARTITION_ID))
                assert left == [{"0": 5}, {"0": 0}]
            finally:
                await log.stop()
                await producer.stop()
