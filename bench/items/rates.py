"""One job of many items, from its publish to its end in hand, beside the same items in what one writes by hand.

The mesh's side has each item called in a process that can be killed, each result in Kafka, each chunk under a claim,
and a trace. By hand, results are in memory, or in Redis (Celery), and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median

from pydantic import JsonValue

from bench.cpu import CpuMeter
from bench.items.by_hand import Pool, asyncio_seconds
from bench.items.kinds import AT_ONCE, KINDS, Kind
from bench.items.ray_actors import RawRay, raw_ray
from bench.parts import mesh_running, parts
from bench.raw_celery import RawCelery, raw_celery
from bench.report import Figure
from eldermesh.client import Client
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.vocabulary import EngineChoice
from eldermesh_cli.stack.servers.ray import EmbeddedRay
from shared.settings import Settings
from tests.fresh_topics import Profile

SIZES = (100, 1_000, 10_000)

_ROUNDS = 3
_LONGEST_SECONDS = 12.0
"""A job that computes for longer on two cores is left out: it says what the shorter ones say."""

_MOST_SINGLE_TASKS = 1_000
"""Of items that take time; a group of 10,000 takes a quarter of a minute even if they take none."""

_WAIT_SECONDS = 180.0

Way = Callable[[Kind, int], Awaitable[float]]
"""Runs so many items of a kind; seconds from the first call to the last result in hand."""


async def measure_items(profile: Profile, directory: Path, sizes: Sequence[int] = SIZES) -> list[Figure]:
    """Medians of interleaved rounds, as items a second; one round before them is not counted."""
    figures: list[Figure] = []
    async with _ways(profile, directory) as (ways, meter):
        for kind in KINDS:
            judged = max(size for size in SIZES if _is_short(kind, size))
            for size in filter(partial(_is_short, kind), sizes):
                figures += await _cell(kind, size, ways, meter, profile, is_judged=size == judged)
    return figures


async def _cell(
    kind: Kind, size: int, ways: dict[str, Way], meter: CpuMeter, profile: Profile, *, is_judged: bool
) -> list[Figure]:
    chosen = {name: way for name, way in ways.items() if _makes_sense(name, kind, size)}
    taken: dict[str, list[float]] = {name: [] for name in chosen}
    cpu: dict[str, list[float]] = {name: [] for name in chosen}
    for number in range(_ROUNDS + 1):
        for name, way in chosen.items():
            if name == "Celery group" and number > 1:
                continue
            with meter.measured() as used:
                seconds = await way(kind, size)
            if number:
                taken[name].append(seconds)
                cpu[name].append(used.seconds)
    rates = {name: size / median(seconds) for name, seconds in taken.items()}
    figures = []
    for name, rate in rates.items():
        if not name.startswith("job"):
            figures.append(Figure(f"  by {name}", profile, rate, "/s"))
            continue
        for beside, times in kind.goals.items():
            raw = rates[beside]
            goal, met = (f"≥ {times:g} times", rate >= times * raw) if is_judged else ("", None)
            about = f"{size:,} items, {kind.name}: a {name} (raw: {beside})"
            figures.append(Figure(about, profile, rate, "/s", raw, goal, met))
        about = f"  processor time of the mesh, an item of a {name}"
        figures.append(Figure(about, profile, median(cpu[name]) * 1e6 / size, "µs"))
    return figures


def _is_short(kind: Kind, size: int) -> bool:
    return kind.seconds * size / 2 <= _LONGEST_SECONDS


def _makes_sense(name: str, kind: Kind, size: int) -> bool:
    match name:
        case "asyncio":
            return kind.only_waits
        case "process pool" | "Celery chunks()" | "Ray actors":
            return not kind.only_waits
        case "Celery group":
            return not kind.only_waits and (kind.seconds == 0 or size <= _MOST_SINGLE_TASKS)
        case _:
            return True


@asynccontextmanager
async def _ways(profile: Profile, directory: Path) -> AsyncIterator[tuple[dict[str, Way], CpuMeter]]:
    """All ways, each with its processes running; and a meter of the mesh's."""
    async with AsyncExitStack() as stack:
        head = EmbeddedRay(directory / "ray-head")
        await head.start()
        stack.push_async_callback(head.stop)
        settings = await stack.enter_async_context(
            parts(
                profile,
                directory,
                python_functions="bench.items.kinds:*",
                ray_address=head.address,
                ray_auth_token=head.token,
            )
        )
        actors = await stack.enter_async_context(raw_ray(head, directory / "raw-ray"))
        redis_url = settings.redis_url.get_secret_value()
        celery = await stack.enter_async_context(raw_celery(redis_url, settings.slots, directory / "logs"))
        pool = Pool(settings.slots)
        stack.callback(pool.close)
        services = await stack.enter_async_context(mesh_running(directory, settings))
        client = await stack.enter_async_context(Client(settings.kafka_bootstrap, settings.topic_prefix))
        yield _of(client, celery, actors, pool, settings), CpuMeter(*services.values(), head.service)


def _of(client: Client, celery: RawCelery, actors: RawRay, pool: Pool, settings: Settings) -> dict[str, Way]:
    def job_on(engine: EngineChoice) -> Way:
        async def way(kind: Kind, size: int) -> float:
            return await _job(client, engine, kind, size)

        return way

    async def in_chunks(kind: Kind, size: int) -> float:
        return await asyncio.to_thread(celery.chunks, kind.function, size, settings.slots)

    async def in_group(kind: Kind, size: int) -> float:
        return await asyncio.to_thread(celery.group, kind.function, size)

    async def in_actors(kind: Kind, size: int) -> float:
        return await actors.seconds(kind.function, size)

    async def in_pool(kind: Kind, size: int) -> float:
        return await asyncio.to_thread(pool.seconds, kind.function, size)

    async def in_asyncio(kind: Kind, size: int) -> float:
        return await asyncio_seconds(kind.function, size, AT_ONCE * settings.slots)

    return {
        "job on Celery": job_on("celery"),
        "job on Ray": job_on("ray"),
        "Celery chunks()": in_chunks,
        "Celery group": in_group,
        "Ray actors": in_actors,
        "process pool": in_pool,
        "asyncio": in_asyncio,
    }


async def _job(client: Client, engine: EngineChoice, kind: Kind, size: int) -> float:
    """Seconds from the publish to the end in hand."""
    items: list[JsonValue] = list(range(size))
    options: dict[str, JsonValue] = {"function": kind.function}
    if kind.only_waits:
        options["at_once"] = AT_ONCE
    job = JobSubmit(workload="python", items=items, options=options, engine=engine)
    began = time.perf_counter()
    end = await client.wait((await client.submit(job)).job_id, _WAIT_SECONDS)
    if (end.engine, end.items_succeeded) != (engine, size):
        raise ValueError(f"the job did not run as asked: {end}")
    return time.perf_counter() - began
