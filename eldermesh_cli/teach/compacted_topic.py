"""Reading and writing the compacted topics of the sages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from aiokafka import TopicPartition

from eldermesh.client.kafka import started_producer
from eldermesh.contract.partitions import partition_of
from eldermesh.kafka.access import KafkaAccess
from eldermesh.kafka.replacing_producer import OutgoingRecord
from eldermesh_cli.program.topic_scan import read_stretches
from shared.errors import ConfigurationError
from shared.kafka.clients import make_admin
from shared.settings import Settings

_IN_FLIGHT = 16
"""Records that are sent before they have to be acknowledged."""


@dataclass(frozen=True, slots=True)
class CompactedRecord:
    """What to write under a key; without a value the key is removed."""

    key: str
    value: bytes | None
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class CompactedTopic:
    """A compacted topic, by its full name."""

    kafka: KafkaAccess
    name: str
    partitions: int

    async def latest(self) -> Mapping[str, Any]:
        """The last aiokafka record of each key that is not removed.

        Raises:
            MeshUnavailableError: the broker does not answer.
        """
        latest: dict[str, Any] = {}
        async with aclosing(self._records()) as records:
            async for record in records:
                if record.key is None:
                    continue  # nobody's; one that cannot be read has none, either
                key = record.key.decode("utf-8", "replace")
                if record.value is None:
                    latest.pop(key, None)
                else:
                    latest[key] = record
        return latest

    async def write(self, records: Iterable[CompactedRecord], written: Callable[[int], None] | None = None) -> None:
        """Write records, acknowledged by all replicas; `written` is told how many are, now and then.

        Raises:
            MeshUnavailableError: the broker did not acknowledge them.
        """
        done = 0
        left = iter(records)
        async with started_producer(self.kafka) as producer:
            while some := [self._outgoing(record) for record in islice(left, _IN_FLIGHT)]:
                await producer.send_all(some)
                done += len(some)
                if written is not None:
                    written(done)

    def _records(self) -> AsyncGenerator[Any, None]:
        return read_stretches(self.kafka, [TopicPartition(self.name, number) for number in range(self.partitions)])

    def _outgoing(self, record: CompactedRecord) -> OutgoingRecord:
        partition = partition_of(record.key, self.partitions)
        return OutgoingRecord(self.name, record.value, record.key.encode(), partition, record.headers)


async def find_compacted(settings: Settings, topic: str) -> CompactedTopic:
    """A topic by its name without prefix. All are listed: the embedded broker creates one that is asked for by name.

    Raises:
        ConfigurationError: it does not exist.
        KafkaUnavailableError: the broker does not answer.
    """
    name = settings.topic(topic)
    admin = make_admin(settings)
    try:
        await admin.start()
        listed = {each["topic"]: len(each["partitions"]) for each in await admin.describe_topics()}
    finally:
        await admin.close()
    if not listed.get(name):
        raise ConfigurationError(f"the topic {name} does not exist: run `mesh topics apply`")
    return CompactedTopic(settings.kafka, name, listed[name])
