"""The owner's part, played by a test: chunks in Redis as an owner writes them, and the facts that runners append."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import orjson
from aiokafka import TopicPartition
from redis.asyncio import Redis

from services.router.engines.chunks.task import ChunkTask
from shared.facts.jobs import FactResult, ItemsCompleted, JobFact, decode_job_fact
from shared.history.chunk_id import ChunkId
from shared.history.item_bitmap import with_items
from shared.history.keys import PartitionKeys
from shared.kafka.clients import make_consumer
from shared.kafka.topics import JOBS_HISTORY
from shared.redis_client import make_redis
from shared.settings import Settings

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
FUNCTIONS = "tests.integration.item_functions"


class PlayedOwner:
    """Owner of partition 0 of `jobs.history`."""

    partition = 0

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._settings = settings
        self._redis = redis
        self.topic = settings.topic(JOBS_HISTORY)
        self.keys = PartitionKeys(self.topic, self.partition)

    async def open_gate(self) -> None:
        """Say that the partition's state is that of the log."""
        server = await self._redis.info("server")
        await self._redis.hset(self.keys.meta, "ready", server["run_id"])

    async def close_gate(self) -> None:
        """Say that it is not known to be."""
        await self._redis.hdel(self.keys.meta, "ready")

    async def plan(
        self,
        items: list[Any],
        function: str = "double",
        *,
        chunk_items: int | None = None,
        done: Iterable[int] = (),
        **spec: Any,
    ) -> list[ChunkTask]:
        """Make a job whose items a function of `item_functions` runs; return the tasks of its chunks."""
        job_id = str(uuid4())
        whole: Mapping[str, Any] = {
            "workload": "python",
            "options": {"function": f"{FUNCTIONS}:{function}"},
            "items": items,
            "item_timeout_ms": None,
            "tenant": "default",
            "labels": {},
            "stream": False,
        } | spec
        size = chunk_items or len(items)
        chunks = [
            ChunkId(job_id, 0, 1, first, min(first + size, len(items)) - 1) for first in range(0, len(items), size)
        ]
        await self._redis.hset(self.keys.specs, job_id, orjson.dumps(whole))
        await self._redis.hset(self.keys.bitmaps, job_id, with_items(b"", list(done), len(items)))
        await self._redis.hset(self.keys.current, mapping={str(chunk): f"mark of {job_id}" for chunk in chunks})
        await self._redis.hset(self.keys.states, job_id, b"opaque")
        await self.open_gate()
        return [self.task(chunk) for chunk in chunks]

    def task(self, chunk: ChunkId, attempt: int = 1) -> ChunkTask:
        """The message that dispatches a chunk now."""
        return ChunkTask(
            topic=self.topic,
            partition=self.partition,
            chunk=str(chunk),
            dispatched_at=time.time_ns() // 1_000_000,
            attempt=attempt,
            traceparent=TRACEPARENT,
        )

    async def replace(self, task: ChunkTask) -> None:
        """Take the chunk out of the plan, as a cancel or a new plan does."""
        await self._redis.hdel(self.keys.current, task.chunk)

    async def end_job(self, task: ChunkTask) -> None:
        """The job has ended."""
        await self._redis.hdel(self.keys.specs, task.chunk_id.job_id)

    async def claim(self, task: ChunkTask) -> str | None:
        """First word of the chunk's claim: `held`, `dead`, `done`."""
        words = await self._claim_words(task)
        return words[0] if words else None

    async def lease_left_ms(self, task: ChunkTask) -> int | None:
        """How long the lease still runs, by Redis' clock; None if the claim is not held."""
        words = await self._claim_words(task)
        return int(words[3]) - await self.redis_now_ms() if words[0] == "held" else None

    async def lease_end_ms(self, task: ChunkTask) -> int:
        """When the lease of a held claim ends, by Redis' clock."""
        return int((await self._claim_words(task))[3])

    async def _claim_words(self, task: ChunkTask) -> list[str]:
        raw: Any = await self._redis.hget(self.keys.claims, task.chunk)
        return [] if raw is None else raw.decode().split()

    async def set_claim(self, task: ChunkTask, claim: str) -> None:
        """Write a claim as somebody else would have left it."""
        await self._redis.hset(self.keys.claims, task.chunk, claim)

    async def forget_everything(self) -> None:
        """Wipe the partition's keys, as a Redis that was emptied."""
        keys = self.keys
        await self._redis.delete(keys.meta, keys.states, keys.specs, keys.current, keys.claims, keys.bitmaps)

    async def redis_now_ms(self) -> int:
        """Redis' clock."""
        seconds, micros = await self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def records(self, task: ChunkTask) -> list[tuple[dict[str, str], ItemsCompleted]]:
        """Headers and content of every fact of results of the task's job, in log order."""
        return [(headers, fact) for headers, fact in await self.facts(task) if isinstance(fact, ItemsCompleted)]

    async def facts(self, task: ChunkTask) -> list[tuple[dict[str, str], JobFact]]:
        """Headers and content of every fact of the task's job, in log order."""
        consumer = make_consumer(self._settings)
        await consumer.start()
        try:
            partition = TopicPartition(self.topic, self.partition)
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            end = (await consumer.end_offsets([partition]))[partition]
            found: list[tuple[dict[str, str], JobFact]] = []
            while await consumer.position(partition) < end:
                for record in (await consumer.getmany(timeout_ms=200)).get(partition, []):
                    if record.key.decode() == task.chunk_id.job_id:
                        headers = {name: value.decode() for name, value in record.headers}
                        found.append((headers, decode_job_fact(headers["ce_type"], record.value)))
            return found
        finally:
            await consumer.stop()

    async def results(self, task: ChunkTask) -> list[FactResult]:
        """All results of the task's job, in log order."""
        return [result for _, fact in await self.records(task) for result in fact.results]


@asynccontextmanager
async def played_owner(settings: Settings) -> AsyncIterator[PlayedOwner]:
    """An owner to play; its keys are gone afterwards."""
    redis = make_redis(settings)
    owner = PlayedOwner(settings, redis)
    try:
        yield owner
    finally:
        await owner.forget_everything()
        await redis.aclose()
