"""The partition of a key, as another client than ours computes it."""

from __future__ import annotations

from uuid import uuid4

from confluent_kafka import KafkaError, Message, Producer

from eldermesh.contract.partitions import partition_of
from eldermesh.contract.topics import JOBS
from tests.fresh_topics import fresh_topics


async def test_murmur2_of_librdkafka(embedded_broker: str) -> None:
    """Librdkafka's `murmur2_random`, which is the Java client's default, puts 500 keys where `partition_of` says."""
    partitions: dict[bytes, int] = {}
    failures: list[str] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        key, partition = message.key(), message.partition()
        if error is not None or not isinstance(key, bytes) or partition is None:
            failures.append(f"{key!r}: {error}")
        else:
            partitions[key] = partition

    keys = [str(uuid4()).encode() for _ in range(400)] + [b"k" * length for length in range(1, 101)]
    async with fresh_topics(embedded_broker, "embedded", partitions=12) as settings:
        producer = Producer({"bootstrap.servers": embedded_broker, "partitioner": "murmur2_random"})
        for key in keys:
            producer.produce(settings.topic(JOBS), b"{}", key=key, on_delivery=delivered)
        assert producer.flush(30) == 0

    assert failures == []
    assert partitions == {key: partition_of(key, 12) for key in keys}
