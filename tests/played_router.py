"""The router's part, played by a test: hand-made records of the public contract on a real broker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from eldermesh.contract import cloudevents
from eldermesh.contract.cloudevents import Headers
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.partitions import partition_of
from eldermesh.contract.topics import JOBS_DEAD, JOBS_DONE, JOBS_PROGRESS
from eldermesh.contract.vocabulary import DeadLetterType
from shared.kafka.clients import make_producer
from shared.settings import Settings
from tests.contract_records import end, headers, progress


class PlayedRouter:
    """Publishes results, ends and dead letters to the topics of `settings`."""

    def __init__(self, settings: Settings, producer: Any) -> None:
        self._settings = settings
        self._producer = producer

    async def publish(self, topic: str, key: str, value: bytes, record_headers: Headers) -> None:
        """One record, on the partition of its key."""
        await self._producer.send_and_wait(
            self._settings.topic(topic),
            value,
            key=key.encode(),
            partition=partition_of(key, self._settings.partition_count),
            headers=record_headers,
        )

    async def progress(self, job_id: str, sequence: int, *results: dict[str, Any], **fields: Any) -> None:
        """A progress record."""
        value = json.dumps(progress(job_id, sequence, results, **fields)).encode()
        event_id = f"{job_id}:progress:{sequence}"
        await self.publish(JOBS_PROGRESS, job_id, value, headers(event_id, cloudevents.PROGRESS, job_id))

    async def end(self, job_id: str, **fields: Any) -> None:
        """The job's end."""
        value = end(job_id, **fields)
        event_type = f"eldermesh.job.{value['status']}.v1"
        await self.publish(JOBS_DONE, job_id, json.dumps(value).encode(), headers(f"{job_id}:end", event_type, job_id))

    async def dead(
        self,
        job_id: str,
        coordinates: tuple[str, int, int],
        error_type: DeadLetterType = "invalid",
        *,
        original: Headers | None = None,
    ) -> None:
        """A dead letter of the record at these coordinates (full topic name, partition, offset)."""
        topic, partition, offset = coordinates
        letter = DeadLetterHeaders(topic, partition, offset, error_type, f"{error_type} for a test", job_id.encode())
        await self.publish(JOBS_DEAD, job_id, b"{}", letter.encode(original or []))


@asynccontextmanager
async def played_router(settings: Settings) -> AsyncIterator[PlayedRouter]:
    """A router to play on the topics of `settings`."""
    producer = make_producer(settings, client_id="played-router")
    try:
        await producer.start()
        yield PlayedRouter(settings, producer)
    finally:
        await producer.stop()
