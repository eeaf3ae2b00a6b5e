"""Jobs that are held, on a mesh whose router decides otherwise: the decision is in the history before it starts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from shared.facts.jobs import JobHeld
from shared.kafka.service_producer import make_plain_producer
from shared.redis_client import make_redis
from shared.settings import Settings
from tests.integration.seeded_mesh import SeededMesh


@asynccontextmanager
async def history_writer(settings: Settings) -> AsyncIterator[SeededMesh]:
    """Whoever writes facts of a mesh beside its services; times are those of now."""
    producer = make_plain_producer(settings, client_id="history-writer")
    redis = make_redis(settings)
    try:
        await producer.start()
        yield SeededMesh(settings, producer, redis, time.time_ns() // 1_000_000)
    finally:
        await producer.stop()
        await redis.aclose()


async def hold(
    writer: SeededMesh, submit: dict[str, Any], *, seconds: float, remind_seconds: float | None = None
) -> str:
    """Submit a job that is held for so long from the writer's beginning; its id. No router may run yet."""
    job_id = str(uuid4())
    await writer.accept(job_id, submit)
    remind_at = None if remind_seconds is None else writer.began_ms + round(remind_seconds * 1000)
    until = writer.began_ms + round(seconds * 1000)
    await writer.append(job_id, (20, JobHeld(n=0, reason="may write files", until=until, remind_at=remind_at)))
    return job_id
