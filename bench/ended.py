"""What jobs cost that have ended: a start of the router, its memory, its processor time while idle, and a no-op job.

Beside a router that knows of none. The ended jobs come into the history as their marks alone; what Redis keeps of such
a job is as large as of one that ran.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from bench.cpu import CpuMeter
from bench.noop_job import clients, one_job
from bench.parts import parts, running
from bench.report import Figure, Unit, percentile
from eldermesh.contract.canonical import canonical_bytes
from eldermesh.contract.cloudevents import COMPLETED
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.partitions import partition_of
from eldermesh.contract.times import format_time
from eldermesh.kafka.whole_producer import WholeProducer
from eldermesh_cli.stack.servers.mesh_services import router_service, worker_service
from shared.facts.jobs import JobEnded
from shared.history.facts import fact_headers
from shared.kafka.paced_consumer import PacedConsumer
from shared.kafka.service_producer import make_plain_producer
from shared.kafka.topics import JOBS_HISTORY
from shared.redis_client import make_redis
from shared.settings import Settings
from tests.fresh_topics import Profile

ENDED = 200_000

_IDLE_SECONDS = 10.0
_FOLD_SECONDS = 300.0
"""The first job may wait until all ends are folded."""
_JOBS = 100
_WARM_UP = 20
_IN_FLIGHT = 5_000
_MIB = 2**20


async def measure_ended(profile: Profile, directory: Path, ended: int) -> list[Figure]:
    """Each figure once with so many ended jobs, and as `raw` once without."""
    async with parts(profile, directory, python_functions="math:*") as settings, AsyncExitStack() as stack:
        redis = await stack.enter_async_context(make_redis(settings))
        await stack.enter_async_context(running(directory, worker_service(settings)))
        await _measured(settings, directory)  # so that the system has read all files once
        without = await _measured(settings, directory)
        empty = (await redis.info("memory"))["used_memory"]
        await _end_jobs(settings, ended)
        folding = await _measured(settings, directory)
        taken = (await redis.info("memory"))["used_memory"] - empty
        beside = await _measured(settings, directory)
    names = (
        "start of the router, to the end of a first job",
        "its memory, PSS",
        "its processor time while idle",
        "a no-op job, p50",
    )
    units: tuple[Unit, ...] = ("s", "MiB", "%", "ms")
    return [
        *(
            Figure(f"{name}, {ended:,} ended jobs (raw: none)", profile, value, unit, raw)
            for name, unit, value, raw in zip(names, units, beside, without, strict=True)
        ),
        Figure(f"  the first start, which folds {ended:,} ends", profile, folding[0], "s"),
        Figure("  its memory after that, PSS", profile, folding[1], "MiB"),
        Figure("  Redis' memory of an ended job", profile, taken / ended, "B"),
    ]


async def _measured(settings: Settings, directory: Path) -> tuple[float, float, float, float]:
    """Seconds of a start, MiB, percent of a core while idle, and milliseconds of a job."""
    began = time.perf_counter()
    async with running(directory, router_service(settings)) as (router,):
        async with clients(settings) as (producer, done):
            await _one_job(settings, producer, done, wait_seconds=_FOLD_SECONDS)
            started = time.perf_counter() - began  # readiness may be that of the router before
            times = [await _one_job(settings, producer, done) for _ in range(_WARM_UP + _JOBS)][_WARM_UP:]
        top = psutil.Process(router.leash_pid)
        memory = sum(each.memory_full_info().pss for each in (top, *top.children(recursive=True))) / _MIB
        with CpuMeter(router).measured() as used:
            await asyncio.sleep(_IDLE_SECONDS)
    return started, memory, used.seconds / _IDLE_SECONDS * 100, percentile(times, 50)


async def _one_job(settings: Settings, producer: WholeProducer, done: PacedConsumer, **limits: float) -> float:
    """Sages do not run: they learn from ends, which is a cost of their own."""
    return await one_job(settings, producer, done, advice="none", **limits)


async def _end_jobs(settings: Settings, number: int) -> None:
    producer = make_plain_producer(settings, client_id="bench")
    await producer.start()
    try:
        for first in range(0, number, _IN_FLIGHT):
            await asyncio.gather(*[await _sent(settings, producer) for _ in range(min(_IN_FLIGHT, number - first))])
    finally:
        await producer.stop()


async def _sent(settings: Settings, producer: WholeProducer) -> Awaitable[Any]:
    """The mark of a job's end, on its way into the history."""
    job_id, now_ms = str(uuid4()), time.time_ns() // 1_000_000
    trace_id = uuid4().hex
    end = JobEnd(
        job_id=job_id,
        status="completed",
        tenant="default",
        workload="python",
        labels={},
        engine="celery",
        items_total=1,
        items_succeeded=1,
        items_failed=0,
        items_not_run=0,
        progress_records_total=1,
        error_type=None,
        reason=None,
        accepted_at=format_time(now_ms),
        ended_at=format_time(now_ms),
        active_seconds=0.02,
        cost_usd=None,
        trace_id=trace_id,
    )
    mark = JobEnded(
        content_hash=sha256(job_id.encode()).hexdigest(),
        event_type=COMPLETED,
        ended_at=now_ms,
        end=canonical_bytes(end.model_dump(mode="json")).decode(),
        traceparent=f"00-{trace_id}-{trace_id[:16]}-01",
    )
    sent: Awaitable[Any] = await producer.send(
        settings.topic(JOBS_HISTORY),
        value=mark.encode(),
        key=job_id.encode(),
        partition=partition_of(job_id, settings.partition_count),
        headers=fact_headers(mark.fact_type, job_id, mark.traceparent),
    )
    return sent
