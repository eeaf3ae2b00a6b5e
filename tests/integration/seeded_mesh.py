"""A mesh in which the tests say what happened: they append the facts, the shipped owner folds them; nothing runs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from eldermesh.contract.partitions import partition_of
from eldermesh.contract.topics import JOBS
from eldermesh.kafka.whole_producer import WholeProducer
from services.router.jobs.machine import JobMachine
from services.router.jobs.state import JobState
from shared.facts.fact import Fact, InboxRecord
from shared.history.clock import SystemClock
from shared.history.facts import fact_headers
from shared.history.kafka_log import KafkaPartitionLog
from shared.history.keys import PartitionKeys
from shared.history.machine import DecisionDue, DispatchDue, NewFact
from shared.history.owner import Owner
from shared.history.owner_parts import OwnerTimes, Rank
from shared.history.snapshot import PartitionStore
from shared.kafka.clients import make_producer
from shared.kafka.service_producer import make_plain_producer
from shared.kafka.topics import JOBS_HISTORY
from shared.redis_client import make_redis
from shared.settings import Settings
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.unit.cli.command_line import Ran, run_here
from tests.unit.cli.job_facts import accepted

_COMMAND_SECONDS = 120.0
_STEP_SECONDS = 0.2


class _Undecided:
    async def decide(self, _state: JobState, _due: DecisionDue, /) -> NewFact | None:
        return None


class _Undispatched:
    def rank(self, _state: JobState, /) -> Rank:
        return Rank(0, 0)

    async def dispatch(self, _partition: int, _chunks: Sequence[tuple[JobState, DispatchDue]], /) -> None:
        return None


@dataclass(frozen=True, slots=True)
class SeededMesh:
    """Broker, Redis and settings that no other test uses. `began_ms` is an hour ago, milliseconds since 1970."""

    settings: Settings
    producer: WholeProducer
    redis: Redis
    began_ms: int

    async def submit(self, job_id: str, submit: dict[str, Any], *, at: int = 0) -> InboxRecord:
        """Put a submit on the inbox, `at` milliseconds after the beginning."""
        topic = self.settings.topic(JOBS)
        value = json.dumps({"job_id": job_id} | submit).encode()
        sent = await self.producer.send_and_wait(topic, value, partition=0, timestamp_ms=self.began_ms + at)
        return InboxRecord(topic=topic, partition=0, offset=sent.offset)

    async def accept(self, job_id: str, submit: dict[str, Any], *, at: int = 0, advise_within_ms: int = 0) -> None:
        """Submit a job and append that it was accepted 10 ms later, with so much time for advice."""
        inbox = await self.submit(job_id, submit, at=at)
        fact = accepted(job_id, submit, submitted_at=self.began_ms + at)
        terms = fact.terms.model_copy(update={"advise_within_ms": advise_within_ms})
        await self.append(job_id, (at + 10, fact.model_copy(update={"inbox": inbox, "terms": terms})))

    async def append(self, job_id: str, *timed_facts: tuple[int, Fact]) -> None:
        """Append facts of a job, each so many milliseconds after the beginning."""
        partition = partition_of(job_id, self.settings.partition_count)
        for at, fact in timed_facts:
            await self.producer.send_and_wait(
                self.settings.topic(JOBS_HISTORY),
                fact.encode(),
                key=job_id.encode(),
                partition=partition,
                timestamp_ms=self.began_ms + at,
                headers=fact_headers(fact.fact_type, job_id, None),
            )

    async def hold_claim(self, chunk_id: str, *, lease_ms: int) -> None:
        """A runner holds this chunk for so long (from Redis' now on)."""
        job_id = chunk_id.split("/", maxsplit=1)[0]
        seconds, _ = await self.redis.time()
        await self.redis.hset(self._keys(job_id).claims, chunk_id, f"held runner-1 run-1 {seconds * 1000 + lease_ms}")

    def _keys(self, job_id: str) -> PartitionKeys:
        partition = partition_of(job_id, self.settings.partition_count)
        return PartitionKeys(self.settings.topic(JOBS_HISTORY), partition)

    async def settle(self) -> None:
        """Let an owner of each partition fold all there is, publish what it calls for, and go away again."""
        async with make_producer(self.settings, client_id="seeded-mesh-owner") as producer:
            for partition in range(self.settings.partition_count):
                await self._fold(partition, KafkaPartitionLog(self.settings, JOBS_HISTORY, partition, producer))

    async def _fold(self, partition: int, log: KafkaPartitionLog) -> None:
        owner: Owner[JobState] = Owner(
            JobMachine(),
            log,
            PartitionStore(self.redis, PartitionKeys(self.settings.topic(JOBS_HISTORY), partition)),
            _Undecided(),
            _Undispatched(),
            partition=partition,
            window_size=4,
            times=OwnerTimes(lease=15.0, claim_timeout=60.0),
            clock=SystemClock(),
        )
        await log.start()
        try:
            await owner.step(0)
            # Ends are marked by facts of the owner's own, which it folds in a step of their own.
            while owner.position < (await log.bounds()).end:
                await owner.step(_STEP_SECONDS)
        finally:
            await log.stop()

    async def run(self, *arguments: str, **settings: str) -> Ran:
        """Run `mesh …` on this mesh to its end, in a thread of this process: starting one anew takes a second."""
        environment = self.settings.environment() | settings
        return await asyncio.wait_for(asyncio.to_thread(run_here, arguments, environment), _COMMAND_SECONDS)


@asynccontextmanager
async def seeded_mesh(broker: AnyBroker, redis_url: str, **overrides: Any) -> AsyncIterator[SeededMesh]:
    """A mesh without a past. On Apache Kafka the time of a fact is the broker's, whatever the test says."""
    async with fresh_topics(*broker, redis_url=redis_url, **overrides) as settings:
        producer = make_plain_producer(settings, client_id="seeded-mesh")
        redis = make_redis(settings)
        try:
            await producer.start()
            yield SeededMesh(settings, producer, redis, time.time_ns() // 1_000_000 - 3_600_000)
        finally:
            await producer.stop()
            keys = [key async for key in redis.scan_iter(f"*{settings.topic_prefix}*")]
            if keys:
                await redis.unlink(*keys)
            await redis.aclose()
