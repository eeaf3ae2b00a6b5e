"""Ten thousand items that do nothing: a job on Ray, from its publish to its end, beside what one writes by hand.

The mesh's side has each item called in a process of its own kind (a user's function can be killed), each result in
Kafka, and each chunk under a claim. The raw sides have results in memory (Ray), or in Redis (Celery), and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

from bench.parts import parts, running
from bench.raw_celery import raw_celery
from bench.raw_ray import raw_ray
from bench.report import Figure
from eldermesh.client import Client
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.vocabulary import EngineChoice
from eldermesh_cli.stack.servers.mesh_services import router_service, worker_service
from eldermesh_cli.stack.servers.ray import EmbeddedRay
from shared.settings import Settings
from tests.fresh_topics import Profile

ITEMS = 10_000
_ROUNDS = 5
_GROUP_ROUNDS = 2
"""A group of single tasks takes half a minute."""

_WAIT_SECONDS = 120.0


async def measure_ray_job(profile: Profile, directory: Path) -> list[Figure]:
    """Medians of interleaved rounds, as items a second; the first round of each is not counted."""
    async with AsyncExitStack() as stack:
        head = EmbeddedRay(directory / "ray-head")
        await head.start()
        stack.push_async_callback(head.stop)
        settings = await stack.enter_async_context(
            parts(profile, directory, python_functions="math:*", ray_address=head.address, ray_auth_token=head.token)
        )
        by_hand = await stack.enter_async_context(raw_ray(head, directory / "raw-ray"))
        redis_url = settings.redis_url.get_secret_value()
        celery = await stack.enter_async_context(raw_celery(redis_url, settings.slots, directory / "logs"))
        client = await stack.enter_async_context(_running(settings, directory))
        on_ray: list[float] = []
        on_celery: list[float] = []
        raw: list[float] = []
        group: list[float] = []
        for number in range(_ROUNDS + 1):
            times = await _job(client, "ray"), await _job(client, "celery"), await by_hand.batch(ITEMS) / 1000
            if number:
                for values, value in zip((on_ray, on_celery, raw), times, strict=True):
                    values.append(value)
            if 0 < number <= _GROUP_ROUNDS:
                group.append(await asyncio.to_thread(celery.group, ITEMS))
    rate = ITEMS / median(raw)
    return [
        Figure(f"{ITEMS:,} no-op items on Ray (raw: two actors, eighths)", profile, ITEMS / median(on_ray), "/s", rate),
        Figure("  the same job on Celery", profile, ITEMS / median(on_celery), "/s"),
        Figure("  a hand-written Ray actor batch", profile, rate, "/s"),
        Figure("  a raw Celery group, a task an item", profile, ITEMS / median(group), "/s"),
    ]


@asynccontextmanager
async def _running(settings: Settings, directory: Path) -> AsyncIterator[Client]:
    async with (
        running(directory, router_service(settings), worker_service(settings)),
        Client(settings.kafka_bootstrap, settings.topic_prefix) as client,
    ):
        yield client


async def _job(client: Client, engine: EngineChoice) -> float:
    """Seconds from the publish to the end in hand."""
    job = JobSubmit(workload="python", items=[4.0] * ITEMS, options={"function": "math:sqrt"}, engine=engine)
    began = time.perf_counter()
    end = await client.wait((await client.submit(job)).job_id, _WAIT_SECONDS)
    if (end.engine, end.items_succeeded) != (engine, ITEMS):
        raise ValueError(f"the job did not run as asked: {end}")
    return time.perf_counter() - began
