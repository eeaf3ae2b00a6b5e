"""Reading and writing the compacted topics of the sages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from eldermesh.cli.scanning import read_stretches
from eldermesh.client.kafka import kafka_errors, started_producer
from eldermesh.contract.partitions import partition_of
from shared.broker import make_admin
from shared.errors import ConfigurationError
from shared.settings import Settings

_IN_FLIGHT = 16
"""Records that are sent before the first of them has to be acknowledged."""


@dataclass(frozen=True, slots=True)
class CompactedRecord:
    """What to write under a key; without a value the key is removed."""

    key: str
    value: bytes | None
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class CompactedTopic:
    """A compacted topic, by its full name."""

    bootstrap: str
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
                key = (record.key or b"").decode("utf-8", "replace")
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
        async with started_producer(self.bootstrap) as producer, kafka_errors(f"{self.name} does not take records"):
            waiting: list[asyncio.Future[Any]] = []
            for record in records:
                waiting.append(await self._send(producer, record))
                if len(waiting) == _IN_FLIGHT:
                    await asyncio.gather(*waiting)
                    done += len(waiting)
                    waiting = []
                    if written is not None:
                        written(done)
            await asyncio.gather(*waiting)
            if written is not None:
                written(done + len(waiting))

    def _records(self) -> AsyncGenerator[Any, None]:
        return read_stretches(self.bootstrap, [TopicPartition(self.name, number) for number in range(self.partitions)])

    async def _send(self, producer: Any, record: CompactedRecord) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = await producer.send(
            self.name,
            record.value,
            key=record.key.encode(),
            partition=partition_of(record.key, self.partitions),
            headers=record.headers,
        )
        return future


async def find_compacted(settings: Settings, topic: str) -> CompactedTopic:
    """A topic by its name without prefix. All are listed: the embedded broker creates one that is asked for by name.

    Raises:
        ConfigurationError: it does not exist.
        KafkaError: the broker does not answer.
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
    return CompactedTopic(settings.kafka_bootstrap, name, listed[name])
