"""What a trace costs: the same no-op job on a mesh with telemetry and on one without, in turns."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from bench.noop_job import clients, one_job
from bench.parts import mesh_running, parts
from bench.report import Figure, percentile
from tests.fresh_topics import Profile

MOST_TIMES = 1.15

_WARM_UP = 20


async def measure_tracing(profile: Profile, directory: Path, jobs: int) -> list[Figure]:
    """p50 of so many jobs on each; the ratio is to the mesh without."""
    milliseconds: dict[str, list[float]] = {"with": [], "without": []}
    async with AsyncExitStack() as stack:
        meshes = []
        for name, values in milliseconds.items():
            own, overrides = directory / name, {} if name == "with" else {"otlp_endpoint": None}
            settings = await stack.enter_async_context(parts(profile, own, python_functions="math:*", **overrides))
            await stack.enter_async_context(mesh_running(own, settings))
            meshes.append((settings, *await stack.enter_async_context(clients(settings)), values))
        for number in range(_WARM_UP + jobs):
            for settings, producer, done, values in meshes:
                took = await one_job(settings, producer, done, advice="none")
                if number >= _WARM_UP:
                    values.append(took)
    value, raw = percentile(milliseconds["with"], 50), percentile(milliseconds["without"], 50)
    goal = f"≤ {MOST_TIMES} times"
    return [
        Figure(
            "no-op job with telemetry, p50 (raw: without)", profile, value, "ms", raw, goal, value <= MOST_TIMES * raw
        )
    ]
