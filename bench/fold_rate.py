"""Facts folded a second by one owner process with telemetry on: the shipped owners, Lua and producer, real brokers.

An accepted one-item job is four facts: accepted, routed, items completed, ended. A runner is played by a dispatcher
that answers at once, in the same process, so its produces are part of the figure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

from aiokafka import TopicPartition
from redis.asyncio import Redis

from bench.parts import parts
from bench.report import Figure
from eldermesh.contract.ids import trace_id_of
from eldermesh.contract.partitions import partition_of
from eldermesh.kafka.whole_producer import WholeProducer
from services.router.jobs.machine import JobMachine
from services.router.jobs.observer import JobObserver
from services.router.jobs.state import JobState
from services.router.policy.decider import JobDecider
from services.router.policy.own_verdict import content_in_redis
from services.router.policy.routing import Routing
from shared.facts.fact import InboxRecord
from shared.facts.jobs import FactResult, ItemsCompleted, JobAccepted, JobTerms
from shared.history.clock import SystemClock
from shared.history.facts import fact_headers
from shared.history.kafka_log import KafkaPartitionLog
from shared.history.keys import PartitionKeys
from shared.history.machine import DispatchDue
from shared.history.owner import Owner
from shared.history.owner_parts import OwnerTimes, Rank
from shared.history.ownership import Ownership
from shared.history.snapshot import PartitionStore
from shared.kafka.clients import make_consumer, make_producer
from shared.kafka.paced_consumer import PacedConsumer
from shared.kafka.service_producer import make_plain_producer
from shared.kafka.topics import JOBS_DONE, JOBS_HISTORY, JOBS_PROGRESS
from shared.processes.garbage_collection import collect_seldom
from shared.redis_client import make_redis
from shared.settings import Settings
from shared.telemetry.setup import configure_telemetry, shutdown_telemetry
from shared.workloads import WorkloadRegistry
from tests.fresh_topics import Profile

FACTS_A_JOB = 4
GOAL = 5_000

_WARM_UP_JOBS = 200
_WAIT_SECONDS = 120.0
_POLL_MS = 20
_WINDOW = 500
_RAW_BATCH = 500
_JOB_AGE_MS = 3_600_000


class AnsweringDispatcher:
    """A `Dispatcher[JobState]` that plays the runner: appends each chunk's results at once."""

    def __init__(self, settings: Settings, producer: WholeProducer) -> None:
        self._topic = settings.topic(JOBS_HISTORY)
        self._producer = producer

    def rank(self, state: JobState) -> Rank:
        """In the order of acceptance."""
        return Rank(0, state.first_offset)

    async def dispatch(self, partition: int, chunks: Sequence[tuple[JobState, DispatchDue]]) -> None:
        """Append the results."""
        for state, due in chunks:
            chunk = due.chunk
            fact = ItemsCompleted(
                epoch=chunk.epoch,
                chunk_id=str(chunk),
                engine="celery",
                worker_id="bench",
                results=tuple(
                    FactResult(item_index=index, status="succeeded", output=index, duration_ms=1)
                    for index in range(chunk.first, chunk.last + 1)
                ),
            )
            headers = fact_headers(fact.fact_type, state.job_id, _traceparent(state.job_id))
            await self._producer.send(
                self._topic, value=fact.encode(), key=state.job_id.encode(), partition=partition, headers=headers
            )


async def measure_fold_rate(profile: Profile, directory: Path, jobs: int) -> list[Figure]:
    """The rate over `jobs` one-item jobs, beside raw aiokafka that copies as many records of the same size."""
    async with parts(profile, directory) as settings:
        configure_telemetry(settings, "bench-owner")
        collect_seldom()
        try:
            return await _measure(profile, settings, jobs)
        finally:
            shutdown_telemetry()


async def _measure(profile: Profile, settings: Settings, jobs: int) -> list[Figure]:
    producer = make_plain_producer(settings, client_id="bench-jobs")
    owners_producer = make_producer(settings, client_id="bench-owner")
    redis = make_redis(settings)
    await producer.start()
    make_owner = _owner_maker(settings, producer, redis)
    ownership = Ownership(settings, JOBS_HISTORY, "bench-owners", owners_producer, make_owner)
    done = make_consumer(settings)
    topic = settings.topic(JOBS_DONE)
    done.assign([TopicPartition(topic, partition) for partition in range(settings.partition_count)])
    await done.start()
    await ownership.start()
    try:
        await _run_jobs(settings, producer, done, ownership, _WARM_UP_JOBS)
        cpu_began = time.process_time()
        seconds = await _run_jobs(settings, producer, done, ownership, jobs)
        cpu_seconds = time.process_time() - cpu_began
        rate = jobs * FACTS_A_JOB / seconds
        raw = await _raw_rate(settings, producer, jobs * FACTS_A_JOB)
    finally:
        await ownership.stop()
        await done.stop()
        await owners_producer.stop()
        await producer.stop()
        await redis.aclose()
    name = "facts folded by one owner process (raw: consume + produce)"
    return [
        Figure(name, profile, rate, "/s", raw, f"≥ {GOAL:,} /s", rate >= GOAL),
        # What other processes do on the machine hardly touches this one.
        Figure("  for each CPU second of that process", profile, jobs * FACTS_A_JOB / cpu_seconds, "/s"),
    ]


def _owner_maker(
    settings: Settings, producer: WholeProducer, redis: Redis
) -> Callable[[KafkaPartitionLog, int], Owner[JobState]]:
    clock = SystemClock()
    topic = settings.topic(JOBS_HISTORY)
    workloads = WorkloadRegistry.installed()

    def make_owner(log: KafkaPartitionLog, partition: int) -> Owner[JobState]:
        keys = PartitionKeys(topic, partition)
        return Owner(
            JobMachine(settings.max_chunk_deaths, settings.max_item_deaths),
            log,
            PartitionStore(redis, keys),
            JobDecider(
                settings, workloads, partial(content_in_redis, redis, keys), clock, Routing(settings, workloads)
            ),
            AnsweringDispatcher(settings, producer),
            partition=partition,
            window_size=_WINDOW,
            times=OwnerTimes(lease=settings.lease_seconds, claim_timeout=settings.claim_timeout_seconds),
            clock=clock,
            observer=JobObserver(topic, clock),
        )

    return make_owner


async def _run_jobs(
    settings: Settings, producer: WholeProducer, done: PacedConsumer, ownership: Ownership, jobs: int
) -> float:
    """Seconds from the first append until every end is in hand and marked."""
    waiting = {str(uuid4()) for _ in range(jobs)}
    appends = []
    began = time.perf_counter()
    for number, job_id in enumerate(sorted(waiting)):
        fact = _accepted(job_id, number)
        headers = fact_headers(fact.fact_type, job_id, fact.traceparent)
        partition = partition_of(job_id, settings.partition_count)
        topic = settings.topic(JOBS_HISTORY)
        appends.append(
            await producer.send(topic, value=fact.encode(), key=job_id.encode(), partition=partition, headers=headers)
        )
    mine = set(waiting)
    await asyncio.gather(*appends)
    async with asyncio.timeout(_WAIT_SECONDS):
        while waiting:
            for records in (await done.getmany(timeout_ms=_POLL_MS)).values():
                waiting.difference_update(record.key.decode() for record in records)
            if ownership.failure is not None:
                raise ownership.failure
        while any(mine & owner.states.keys() for owner in ownership.owners.values()):  # noqa: ASYNC110 - no such event
            await asyncio.sleep(_POLL_MS / 1000)
    return time.perf_counter() - began


def _accepted(job_id: str, number: int) -> JobAccepted:
    return JobAccepted(
        inbox=InboxRecord(topic="jobs", partition=0, offset=number),
        original='{"workload":"python","items":[1],"options":{"function":"math:sqrt"}}',
        content_hash=UUID(job_id).hex,
        terms=JobTerms(workload="python", tenant="default", advice="none", expires_after_ms=_JOB_AGE_MS),
        items_total=1,
        submitted_at=time.time_ns() // 1_000_000,
        trace_id=trace_id_of(job_id),
        traceparent=_traceparent(job_id),
    )


def _traceparent(job_id: str) -> str:
    return f"00-{trace_id_of(job_id)}-{'b' * 16}-01"


async def _raw_rate(settings: Settings, producer: WholeProducer, records: int) -> float:
    """Records a second that raw aiokafka reads from the history and produces again, in batches, acknowledged."""
    source, target = settings.topic(JOBS_HISTORY), settings.topic(JOBS_PROGRESS)
    consumer = make_consumer(settings)
    consumer.assign([TopicPartition(source, partition) for partition in range(settings.partition_count)])
    await consumer.start()
    try:
        copied = 0
        began = time.perf_counter()
        async with asyncio.timeout(_WAIT_SECONDS):
            while copied < records:
                for batch in (await consumer.getmany(timeout_ms=_POLL_MS, max_records=_RAW_BATCH)).values():
                    sent = [
                        await producer.send(target, value=each.value, key=each.key, headers=list(each.headers))
                        for each in batch
                    ]
                    await asyncio.gather(*sent)
                    copied += len(batch)
        return copied / (time.perf_counter() - began)
    finally:
        await consumer.stop()
