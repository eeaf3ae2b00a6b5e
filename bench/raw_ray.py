"""A hand-written batch on Ray: two actors, eighths of the items; `python -m bench.raw_ray ADDRESS`, asked line by line.

A line with a number on standard input is a batch of so many items; the answer on standard output is its milliseconds.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import ray

from eldermesh_cli.stack.servers.ray import EmbeddedRay
from services.router.engines.ray.environment import ray_environment
from shared.settings import Settings

_ACTORS = 2
_CHUNKS = 8
_WAIT_SECONDS = 60.0


class Batch:
    """An actor as anybody writes it."""

    def run(self, items: list[float]) -> list[float]:
        """Do all."""
        return [math.sqrt(item) for item in items]


class RawRay:
    """A driver of such actors in another process: this one is never connected to Ray."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def batch(self, items: int) -> float:
        """Milliseconds from the first call to the last result in hand."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: both are pipes
        assert self._process.stdout is not None  # noqa: S101 - the same
        self._process.stdin.write(f"{items}\n".encode())
        async with asyncio.timeout(_WAIT_SECONDS):
            return float(await self._process.stdout.readline())


@asynccontextmanager
async def raw_ray(head: EmbeddedRay, directory: Path) -> AsyncIterator[RawRay]:
    """A driver that is connected and has its actors."""
    settings = Settings(data_dir=directory, ray_auth_token=head.token, _env_file=None)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.raw_ray", head.address),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **ray_environment(settings)},
    )
    raw = RawRay(process)
    try:
        await raw.batch(_CHUNKS)
        yield raw
    finally:
        assert process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
        process.stdin.close()
        await process.wait()


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray prints
    ray.init(address=sys.argv[1], configure_logging=False, log_to_driver=False)
    make: Any = ray.remote(Batch)
    actors = [make.options(num_cpus=0).remote() for _ in range(_ACTORS)]
    for line in sys.stdin:
        items = [4.0] * int(line)
        size = math.ceil(len(items) / _CHUNKS)
        began = time.perf_counter()
        chunks = [items[first : first + size] for first in range(0, len(items), size)]
        ray.get([actors[number % _ACTORS].run.remote(chunk) for number, chunk in enumerate(chunks)])
        answers.write(f"{(time.perf_counter() - began) * 1000}\n")
        answers.flush()


if __name__ == "__main__":
    main()
