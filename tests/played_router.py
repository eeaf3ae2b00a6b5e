"""The router's part, played by a test: hand-made records of the public contract on a real broker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from eldermesh.contract import cloudevents
from eldermesh.contract.cloudevents import Headers, binary_headers
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.ids import trace_id_of
from eldermesh.contract.partitions import partition_of
from eldermesh.contract.times import format_time
from eldermesh.contract.topics import JOBS_DEAD, JOBS_DONE, JOBS_PROGRESS
from eldermesh.contract.vocabulary import DeadLetterType
from shared.broker import make_producer
from shared.settings import Settings

NOW_MS = 1_795_000_000_123
_SOURCE = "/eldermesh/router"


def result(item_index: int, output: Any = None, **fields: Any) -> dict[str, Any]:
    """One item's result with every field of the contract."""
    return {
        "item_index": item_index,
        "status": "succeeded",
        "output": output,
        "output_url": None,
        "error_type": None,
        "error_message": None,
        "attempt": 1,
        "duration_seconds": 0.01,
        "cost_usd": None,
    } | fields


def progress(job_id: str, sequence: int, results: Sequence[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """The value of a progress record with every field of the contract."""
    return {
        "job_id": job_id,
        "sequence": sequence,
        "stage_index": 0,
        "epoch": 1,
        "engine": "celery",
        "worker_id": "worker-1",
        "items_ended": len(results),
        "recorded_at": format_time(NOW_MS),
        "trace_id": trace_id_of(job_id),
        "results": list(results),
    } | fields


def end(job_id: str, *, succeeded: int = 0, records: int = 0, **fields: Any) -> dict[str, Any]:
    """The value of an end, `completed` unless `fields` say otherwise, with every field of the contract."""
    return {
        "job_id": job_id,
        "status": "completed",
        "tenant": "default",
        "workload": "python",
        "labels": {},
        "engine": "celery",
        "items_total": succeeded,
        "items_succeeded": succeeded,
        "items_failed": 0,
        "items_not_run": 0,
        "progress_records_total": records,
        "error_type": None,
        "reason": None,
        "accepted_at": format_time(NOW_MS),
        "ended_at": format_time(NOW_MS + 1500),
        "active_seconds": 1.5,
        "cost_usd": None,
        "trace_id": trace_id_of(job_id),
    } | fields


def headers(event_id: str, event_type: str, job_id: str) -> Headers:
    """The headers of such a record."""
    return binary_headers(
        event_id=event_id,
        event_type=event_type,
        source=_SOURCE,
        subject=job_id,
        time_ms=NOW_MS,
        traceparent=f"00-{trace_id_of(job_id)}-00f067aa0ba902b7-01",
    )


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
