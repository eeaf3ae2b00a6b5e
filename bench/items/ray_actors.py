"""A hand-written batch on Ray: two actors, eighths of the items; `python -m bench.items.ray_actors ADDRESS`.

A line on standard input, a function and a number, is a batch of so many items; the answer on standard output is its
seconds.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from pkgutil import resolve_name
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

    def run(self, function: str, items: Sequence[int]) -> list[int]:
        """Do all."""
        call = resolve_name(function)
        return [call(item) for item in items]


class RawRay:
    """A driver of such actors in another process: this one is never connected to Ray."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def seconds(self, function: str, items: int) -> float:
        """From the first call to the last result in hand."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: both are pipes
        assert self._process.stdout is not None  # noqa: S101 - the same
        self._process.stdin.write(f"{function} {items}\n".encode())
        async with asyncio.timeout(_WAIT_SECONDS):
            return float(await self._process.stdout.readline())


@asynccontextmanager
async def raw_ray(head: EmbeddedRay, directory: Path) -> AsyncIterator[RawRay]:
    """A driver that is connected and has its actors."""
    settings = Settings(data_dir=directory, ray_auth_token=head.token, _env_file=None)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.items.ray_actors", head.address),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **ray_environment(settings), "PYTHONPATH": str(Path.cwd())},
    )
    raw = RawRay(process)
    try:
        await raw.seconds("math:trunc", _CHUNKS)
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
        function, number = line.split()
        items = range(int(number))
        size = math.ceil(len(items) / _CHUNKS)
        began = time.perf_counter()
        chunks = [items[first : first + size] for first in range(0, len(items), size)]
        done = ray.get([actors[place % _ACTORS].run.remote(function, chunk) for place, chunk in enumerate(chunks)])
        taken = time.perf_counter() - began
        if [result for chunk in done for result in chunk] != list(items):
            raise ValueError("Ray's results are not those of the items")
        answers.write(f"{taken}\n")
        answers.flush()


if __name__ == "__main__":
    main()
