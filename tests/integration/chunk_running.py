"""A chunk runner in this process, made as an engine makes it, with any of its ports replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from services.router.engines.chunks.runner import ChunkRunner
from services.router.engines.chunks.runner_parts import ChunkRunnerParts
from shared.blobs.store import BlobStore
from shared.history.fact_appender import FactAppender
from shared.history.runs.claims import ClaimStore
from shared.kafka.clients import make_producer
from shared.redis_client import make_redis
from shared.settings import Settings
from shared.workloads import WorkloadRegistry
from tests.fresh_topics import fresh_topics
from tests.integration.played_owner import FUNCTIONS

LEASE_SECONDS = 10.0
HEARTBEAT_SECONDS = 0.3
WORKER_ID = "celery@test:1"


@asynccontextmanager
async def runner_settings(bootstrap: str, redis_url: str, data_dir: Path, **overrides: Any) -> AsyncIterator[Settings]:
    """Settings with topics of their own, frequent heartbeats, and the test functions allowed."""
    values: dict[str, Any] = {
        "redis_url": redis_url,
        "data_dir": data_dir,
        "python_functions": (f"{FUNCTIONS}:*",),
        "lease_seconds": LEASE_SECONDS,
        "heartbeat_seconds": HEARTBEAT_SECONDS,
    }
    async with fresh_topics(bootstrap, "embedded", **(values | overrides)) as settings:
        yield settings


@asynccontextmanager
async def chunk_runner(settings: Settings, **ports: Any) -> AsyncIterator[ChunkRunner]:
    """A runner; `ports` replace parts of `ChunkRunnerParts`."""
    redis = make_redis(settings)
    producer = make_producer(settings)
    workloads = WorkloadRegistry.installed()
    blobs = BlobStore(settings.blobs)
    whole: dict[str, Any] = {
        "settings": settings,
        "engine": "celery",
        "worker_id": WORKER_ID,
        "claims": lambda topic: ClaimStore(redis, topic, lease_ms=round(settings.lease_seconds * 1000)),
        "facts": FactAppender(producer),
        "workloads": workloads,
        "blobs": blobs,
    } | ports
    try:
        yield ChunkRunner(ChunkRunnerParts(**whole))
    finally:
        await workloads.close()
        await producer.stop()
        blobs.close()
        await redis.aclose()
