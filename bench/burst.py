"""Many one-item jobs at once: jobs a second, the processor time of a job, and what people wait beside them.

Beside a raw Celery group of as many single tasks. Sages and notifier run, as in a mesh. The people's jobs come one
after another while the others wait: an interactive one of the same tenant, and a normal one of another tenant.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from bench.cpu import CpuMeter
from bench.items.kinds import KINDS
from bench.noop_job import HOPS, clients, one_job
from bench.parts import following, mesh_running, parts
from bench.raw_celery import RawCelery, raw_celery
from bench.raw_hops import raw_hops
from bench.report import Figure, percentile
from eldermesh.kafka.whole_producer import WholeProducer
from eldermesh_cli.stack.servers.mesh_services import WORKER_NAME
from shared.kafka.paced_consumer import PacedConsumer
from shared.kafka.topics import JOBS, JOBS_DONE
from shared.settings import Settings
from tests.fresh_topics import Profile

MOST_CPU_MS = 5.0
MOST_WAIT = 3.0
"""Times the same job on an idle mesh."""

_NOTHING = KINDS[0].function
_IDLE_JOBS = 50
_WARM_UP = 20
_WAIT_SECONDS = 600.0
_PEOPLE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("an interactive job", {"priority": "interactive", "tenant": "crowd"}),
    ("a job of another tenant", {"tenant": "other"}),
)


async def measure_burst(profile: Profile, directory: Path, jobs: int) -> list[Figure]:
    """One burst by itself, one with people beside it."""
    async with AsyncExitStack() as stack:
        settings = await stack.enter_async_context(parts(profile, directory, python_functions=("math:*", _NOTHING)))
        redis_url = settings.redis_url.get_secret_value()
        celery = await stack.enter_async_context(raw_celery(redis_url, settings.slots, directory / "logs"))
        services = await stack.enter_async_context(mesh_running(directory, settings))
        producer, done = await stack.enter_async_context(clients(settings))
        idle = await _idle(settings, producer, done)
        raw = await _raw(settings, celery, jobs)
        meters = {name: CpuMeter(service) for name, service in services.items()}
        before = {name: meter.total() for name, meter in meters.items()}
        rate = jobs / await _burst(settings, producer, done, jobs)
        cpu = {name: (meter.total() - before[name]) / jobs * 1000 for name, meter in meters.items()}
        beside = await _with_people(settings, producer, jobs)
    whole = sum(cpu.values())
    return [
        Figure(
            f"{jobs:,} one-item jobs at once (raw: a Celery group)",
            profile,
            rate,
            "/s",
            raw.rate,
            "≥ 1",
            rate >= raw.rate,
        ),
        Figure(
            f"  processor time of a job (raw: {HOPS} hops + 1 task)",
            profile,
            whole,
            "ms",
            raw.worker_ms + raw.client_ms + raw.hops_ms,
            f"≤ {MOST_CPU_MS:g} ms",
            whole <= MOST_CPU_MS,
        ),
        *(
            Figure("    worker (raw: of a task of the group)", profile, value, "ms", raw.worker_ms)
            if name == WORKER_NAME
            else Figure(f"    {name}", profile, value, "ms")
            for name, value in cpu.items()
        ),
        Figure("    raw client of the group", profile, raw.client_ms, "ms"),
        Figure(f"    {HOPS} raw Kafka hops, all records at once", profile, raw.hops_ms, "ms"),
        *(
            Figure(
                f"  {name} beside them, p50 of {len(beside[name])} (raw: idle)",
                profile,
                value := percentile(beside[name], 50),
                "ms",
                idle[name],
                f"≤ {MOST_WAIT:g}",
                value <= MOST_WAIT * idle[name],
            )
            for name, _ in _PEOPLE
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Raw:
    """What the libraries alone do in a burst: `rate` tasks a second, and processor time for each."""

    rate: float
    worker_ms: float
    client_ms: float
    hops_ms: float


async def _raw(settings: Settings, celery: RawCelery, jobs: int) -> _Raw:
    with CpuMeter(celery.worker).measured() as worker:
        began = time.process_time()
        seconds = await asyncio.to_thread(celery.group, _NOTHING, jobs)
        client_seconds = time.process_time() - began
    async with raw_hops(settings, HOPS) as hops:
        hops_seconds = await hops.burst(jobs)
    return _Raw(jobs / seconds, *(1000 * used / jobs for used in (worker.seconds, client_seconds, hops_seconds)))


async def _idle(settings: Settings, producer: WholeProducer, done: PacedConsumer) -> dict[str, float]:
    for _ in range(_WARM_UP):
        await one_job(settings, producer, done)
    return {
        name: percentile([await one_job(settings, producer, done, **fields) for _ in range(_IDLE_JOBS)], 50)
        for name, fields in _PEOPLE
    }


async def _burst(settings: Settings, producer: WholeProducer, done: PacedConsumer, jobs: int) -> float:
    """Seconds from the first send to the last end in hand."""
    began = time.perf_counter()
    waiting = await _submitted(settings, producer, jobs)
    await _ended(done, waiting)
    return time.perf_counter() - began


async def _with_people(settings: Settings, producer: WholeProducer, jobs: int) -> dict[str, list[float]]:
    """Milliseconds of the people's jobs that came while others waited."""
    taken: dict[str, list[float]] = {name: [] for name, _ in _PEOPLE}
    async with following(settings, JOBS_DONE) as of_crowd, following(settings, JOBS_DONE) as of_people:
        crowd = asyncio.create_task(_ended(of_crowd, await _submitted(settings, producer, jobs)))
        while not crowd.done() or not all(len(values) > 1 for values in taken.values()):
            for name, fields in _PEOPLE:
                taken[name].append(await one_job(settings, producer, of_people, **fields))
        await crowd
    return taken


async def _submitted(settings: Settings, producer: WholeProducer, jobs: int) -> set[str]:
    ids = {str(uuid4()) for _ in range(jobs)}
    sent = [await producer.send(settings.topic(JOBS), value=_job(job_id)) for job_id in ids]
    await asyncio.gather(*sent)
    return ids


def _job(job_id: str) -> bytes:
    job = {"job_id": job_id, "workload": "python", "items": [4], "options": {"function": _NOTHING}, "tenant": "crowd"}
    return orjson.dumps(job)


async def _ended(done: PacedConsumer, waiting: set[str]) -> None:
    async with asyncio.timeout(_WAIT_SECONDS):
        while waiting:
            records: Sequence[Any] = [
                record for some in (await done.getmany(timeout_ms=200)).values() for record in some
            ]
            waiting.difference_update((record.key or b"").decode() for record in records)
