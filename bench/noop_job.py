"""One item that does nothing: from its publish to the record on `jobs.done`, without and with the panel's advice.

A job takes six hops over Kafka (submit, accepted, routed, items completed, the end, and its way back through the owner)
and one over Celery. So the raw side of the comparison is six raw Kafka hops and one raw Celery round trip.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from bench.parts import following, mesh_running, parts
from bench.raw_celery import raw_celery
from bench.raw_hops import raw_hops
from bench.report import Figure, percentile
from eldermesh.kafka.whole_producer import WholeProducer
from shared.kafka.paced_consumer import PacedConsumer
from shared.kafka.service_producer import make_plain_producer
from shared.kafka.topics import JOBS, JOBS_DONE
from shared.settings import Settings
from tests.fresh_topics import Profile

HOPS = 6
GOALS = {"none": 1.5, "full": 2.2}
"""By the advice that the job asks for: most times the raw libraries' time."""

EMBEDDED_MS = 40.0
"""Most milliseconds without advice on the embedded broker, which is what people wait who try the mesh."""

_WARM_UP = 20
_WAIT_SECONDS = 30.0


async def measure_noop_job(profile: Profile, directory: Path, jobs: int) -> list[Figure]:
    """p50 and p90 of `jobs` jobs of each kind, each followed by the raw round trips."""
    async with (
        parts(profile, directory, python_functions="math:*") as settings,
        raw_hops(settings, HOPS) as hops,
        raw_celery(settings.redis_url.get_secret_value(), settings.slots, directory / "logs") as celery,
        mesh_running(directory, settings),
    ):
        mesh, raw_kafka, raw_task = await _interleaved(settings, hops, celery, jobs)
    figures = []
    for percent in (50, 90):
        kafka, task = percentile(raw_kafka, percent), percentile(raw_task, percent)
        raw = kafka + task
        for advice, times in GOALS.items():
            value = percentile(mesh[advice], percent)
            goal, limit = _goal(profile, advice, raw * times) if percent == 50 else ("", None)  # noqa: PLR2004 - median
            name = f"no-op job, advice {advice}, p{percent} (raw: {HOPS} hops + 1 task)"
            figures.append(Figure(name, profile, value, "ms", raw, goal, None if limit is None else value <= limit))
        figures += [
            Figure(f"  {HOPS} raw Kafka hops, p{percent}", profile, kafka, "ms"),
            Figure(f"  1 raw Celery round trip, p{percent}", profile, task, "ms"),
        ]
    return figures


def _goal(profile: Profile, advice: str, most_ms: float) -> tuple[str, float | None]:
    """What the goal says, and its milliseconds."""
    if profile == "kafka":
        return f"≤ {GOALS[advice]} times", most_ms
    return (f"≤ {EMBEDDED_MS:g} ms", EMBEDDED_MS) if advice == "none" else ("", None)


async def _interleaved(
    settings: Settings, hops: Any, celery: Any, jobs: int
) -> tuple[dict[str, list[float]], list[float], list[float]]:
    mesh: dict[str, list[float]] = {advice: [] for advice in GOALS}
    raw_kafka: list[float] = []
    raw_task: list[float] = []
    async with clients(settings) as (producer, done):
        for number in range(_WARM_UP + jobs):
            times = [
                *[await one_job(settings, producer, done, advice=advice) for advice in GOALS],
                await hops.round_trip(),
                await asyncio.to_thread(celery.round_trip),
            ]
            if number >= _WARM_UP:
                for values, value in zip((*mesh.values(), raw_kafka, raw_task), times, strict=True):
                    values.append(value)
    return mesh, raw_kafka, raw_task


@asynccontextmanager
async def clients(settings: Settings) -> AsyncIterator[tuple[WholeProducer, PacedConsumer]]:
    """A producer, and a consumer at the end of `jobs.done`."""
    async with following(settings, JOBS_DONE) as done:
        producer = make_plain_producer(settings, client_id="bench")
        await producer.start()
        try:
            yield producer, done
        finally:
            await producer.stop()


async def one_job(
    settings: Settings,
    producer: WholeProducer,
    done: PacedConsumer,
    *,
    wait_seconds: float = _WAIT_SECONDS,
    **fields: Any,
) -> float:
    """Milliseconds from the send to the end in hand, of a job with these fields beside its one item."""
    job_id = str(uuid4())
    job = {"job_id": job_id, "workload": "python", "items": [4.0], "options": {"function": "math:sqrt"}, **fields}
    began = time.perf_counter()
    await producer.send_and_wait(settings.topic(JOBS), orjson.dumps(job))
    async with asyncio.timeout(wait_seconds):
        while (await done.getone()).key != job_id.encode():
            pass
    return (time.perf_counter() - began) * 1000
