"""What advice adds to a job: the same no-op job without, with the rules alone, and with all four sages, in turns."""

from __future__ import annotations

from pathlib import Path

from bench.noop_job import clients, one_job
from bench.parts import mesh_running, parts
from bench.report import Figure, percentile
from tests.fresh_topics import Profile

_ADVICE = ("none", "rules", "full")
_WARM_UP = 20


async def measure_advised_job(profile: Profile, directory: Path, jobs: int) -> list[Figure]:
    """p50 and p90 of so many jobs with each kind of advice; the ratio is to the job without."""
    milliseconds: dict[str, list[float]] = {advice: [] for advice in _ADVICE}
    async with (
        parts(profile, directory, python_functions="math:*") as settings,
        mesh_running(directory, settings),
        clients(settings) as (producer, done),
    ):
        for number in range(_WARM_UP + jobs):
            for advice, values in milliseconds.items():
                took = await one_job(settings, producer, done, advice=advice)
                if number >= _WARM_UP:
                    values.append(took)
    return [
        Figure(
            f"no-op job, advice {advice}, p{percent}",
            profile,
            percentile(values, percent),
            "ms",
            None if advice == "none" else percentile(milliseconds["none"], percent),
        )
        for percent in (50, 90)
        for advice, values in milliseconds.items()
    ]
