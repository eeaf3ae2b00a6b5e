"""Publishing as any Kafka client does: a topic and bytes, nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from eldermesh.kafka.whole_producer import WholeProducer

JOBS = "jobs"


@dataclass(frozen=True, slots=True)
class Published:
    """Where a record lies."""

    partition: int
    offset: int


class PlainPublisher:
    """A producer that knows nothing of ElderMesh."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer

    async def publish(self, value: str) -> Published:
        """Send a record without key and headers to the topic `jobs`, and wait for the broker's acknowledgement."""
        sent = await self._producer.send_and_wait(JOBS, value.encode())
        return Published(sent.partition, sent.offset)


@asynccontextmanager
async def plain_publisher(bootstrap: str) -> AsyncIterator[PlainPublisher]:
    """A producer on a broker, as long as the context is open."""
    producer = WholeProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        yield PlainPublisher(producer)
    finally:
        await producer.stop()
