"""Many one-item jobs at once: jobs a second, the processor time of a job, and what people wait beside them.

Beside a raw Celery group of as many single tasks. Sages and notifier run, as in a mesh. The people's jobs come one
after another beside them, an interactive one of the same tenant and a normal one of another tenant: while the others
are accepted, advised on and routed, and then while they wait for the engine. The others' items wait for 20 ms each
then: no-op items would hardly queue.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
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
from shared.facts.fact import FACT_TYPE_HEADER
from shared.facts.jobs import JobRouted
from shared.kafka.paced_consumer import PacedConsumer
from shared.kafka.topics import JOBS, JOBS_DONE, JOBS_HISTORY
from shared.settings import Settings
from tests.fresh_topics import Profile

MOST_CPU_MS = 5.0
MOST_WAIT = 3.0
"""Times the same job on an idle mesh."""

_NOTHING, _WAIT = KINDS[0].function, KINDS[-1].function
_IDLE_JOBS = 50
_WARM_UP = 20
_LEAST_JUDGED = 10
_WAIT_SECONDS = 600.0
_BEHIND, _WAITING = "right behind them", "while they wait for the engine"
_ROUTED = JobRouted.fact_type.encode()
_PEOPLE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("an interactive job", {"priority": "interactive", "tenant": "crowd"}),
    ("a job of another tenant", {"tenant": "other"}),
)


async def measure_burst(profile: Profile, directory: Path, jobs: int) -> list[Figure]:
    """One burst by itself, one with people beside it."""
    async with AsyncExitStack() as stack:
        settings = await stack.enter_async_context(
            parts(profile, directory, python_functions=("math:*", _NOTHING, _WAIT))
        )
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
            _beside(f"  {name} {when}", profile, values, idle[name])
            for (name, when), values in beside.items()
            if len(values) > 1  # a small burst may be over before
        ),
    ]


def _beside(name: str, profile: Profile, values: list[float], idle: float) -> Figure:
    """What people's jobs took; few of them decide nothing."""
    value = percentile(values, 50)
    is_judged = len(values) >= _LEAST_JUDGED
    goal, met = (f"≤ {MOST_WAIT:g}", value <= MOST_WAIT * idle) if is_judged else ("", None)
    return Figure(f"{name}, p50 of {len(values)} (raw: idle)", profile, value, "ms", idle, goal, met)


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
    waiting = await _submitted(settings, producer, jobs, _NOTHING)
    await _ended(done, waiting)
    return time.perf_counter() - began


async def _with_people(settings: Settings, producer: WholeProducer, jobs: int) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of the people's jobs that came beside the others, by whose and when."""
    taken: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    async with (
        following(settings, JOBS_DONE) as of_crowd,
        following(settings, JOBS_DONE) as of_people,
        following(settings, JOBS_HISTORY) as history,
        asyncio.TaskGroup() as tasks,
    ):
        ids = await _submitted(settings, producer, jobs, _WAIT)
        routing = tasks.create_task(_routed(history, set(ids)))
        crowd = tasks.create_task(_ended(of_crowd, ids))
        while not crowd.done():
            when = _WAITING if routing.done() else _BEHIND
            for name, fields in _PEOPLE:
                taken[name, when].append(await one_job(settings, producer, of_people, **fields))
    return taken


async def _submitted(settings: Settings, producer: WholeProducer, jobs: int, function: str) -> set[str]:
    ids = {str(uuid4()) for _ in range(jobs)}
    sent = [await producer.send(settings.topic(JOBS), value=_job(job_id, function)) for job_id in ids]
    await asyncio.gather(*sent)
    return ids


def _job(job_id: str, function: str) -> bytes:
    job = {"job_id": job_id, "workload": "python", "items": [4], "options": {"function": function}, "tenant": "crowd"}
    return orjson.dumps(job)


async def _ended(done: PacedConsumer, waiting: set[str]) -> None:
    async with asyncio.timeout(_WAIT_SECONDS):
        while waiting:
            waiting.difference_update((record.key or b"").decode() for record in await _some(done))


async def _routed(history: PacedConsumer, waiting: set[str]) -> None:
    async with asyncio.timeout(_WAIT_SECONDS):
        while waiting:
            facts = [fact for fact in await _some(history) if (FACT_TYPE_HEADER, _ROUTED) in fact.headers]
            waiting.difference_update((fact.key or b"").decode() for fact in facts)


async def _some(consumer: PacedConsumer) -> list[Any]:
    return [record for records in (await consumer.getmany(timeout_ms=200)).values() for record in records]
