"""A Ray head, its driver and its runners below a data directory of any name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eldermesh_cli.stack.servers.ray import EmbeddedRay
from services.router.engines.ray.queue import RayDispatcher
from tests.fresh_topics import fresh_topics
from tests.integration.played_owner import FUNCTIONS, played_owner
from tests.ray_head import reaching
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

NAMES = {
    "letters beyond ASCII, spaces, quotes": 'dätä mesh\'s "日本"',
    "bytes that are no UTF-8": os.fsdecode(b"d\xe4t\xff"),
    "longer than a socket's address": "d" * 120,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
async def test_a_job_runs_on_ray(name: str, embedded_broker: str, redis_server: str, tmp_path: Path) -> None:
    """The head starts, the driver connects to it, and a runner runs a chunk."""
    data_dir = tmp_path / name
    head = EmbeddedRay(data_dir, cpus=1)
    await head.start()
    try:
        async with (
            fresh_topics(
                embedded_broker,
                "embedded",
                redis_url=redis_server,
                data_dir=data_dir,
                python_functions=(f"{FUNCTIONS}:*",),
                ray_max_runners=1,
                **reaching(head),
            ) as settings,
            played_owner(settings) as owner,
        ):
            dispatcher = RayDispatcher(settings)
            try:
                (task,) = await owner.plan([21])
                await dispatcher.dispatch([task], workload="python", queue="batch_tasks", priority=3)

                async def done() -> bool:
                    return await owner.claim(task) == "done"

                await wait_until(done, description="the chunk has run", timeout_seconds=100.0)
                assert [result.output for result in await owner.results(task)] == [42]
            finally:
                await dispatcher.close()
    finally:
        await head.stop()
