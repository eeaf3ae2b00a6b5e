"""Jobs on a real Ray head: routed there by size or by wish, run by the same chunk runner, cancelled by their claims."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eldermesh.client import Client
from eldermesh.contract.commands import JobSubmit
from eldermesh_cli.stack.servers.ray import EmbeddedRay
from tests.mesh_services import MeshServices, mesh_services
from tests.public_topics import assert_invariants
from tests.ray_head import reaching, runner_pids
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

WAIT_SECONDS = 300.0
ITEMS = 150


@pytest.fixture
async def mesh(embedded_broker: str, ray_head: EmbeddedRay, tmp_path: Path) -> AsyncIterator[MeshServices]:
    """A mesh that has a Ray; its runners end soon when they are idle."""
    async with mesh_services(
        embedded_broker, "embedded", tmp_path, ray_idle_seconds=2.0, python_functions="math:*", **reaching(ray_head)
    ) as mesh:
        yield mesh


def square_roots(items: int, **fields: object) -> JobSubmit:
    """A job of so many items."""
    return JobSubmit.model_validate(
        {"workload": "python", "items": [4.0] * items, "options": {"function": "math:sqrt"}} | fields
    )


async def test_large_jobs_run_on_ray_and_small_ones_on_celery(mesh: MeshServices, ray_head: EmbeddedRay) -> None:
    """150 items go to Ray, 3 to Celery, 3 to Ray when asked for; results and ends say so; idle runners leave."""
    bootstrap, prefix = mesh.settings.kafka_bootstrap, mesh.settings.topic_prefix
    async with Client(bootstrap, prefix) as client:
        large, small, asked = [
            (await client.submit(job)).job_id
            for job in (square_roots(ITEMS), square_roots(3), square_roots(3, engine="ray"))
        ]
        ends = {job_id: await client.wait(job_id, WAIT_SECONDS) for job_id in (large, small, asked)}
        assert [(ends[each].engine, ends[each].items_succeeded) for each in (large, small, asked)] == [
            ("ray", ITEMS),
            ("celery", 3),
            ("ray", 3),
        ]
        engines = {
            (progress.engine, progress.worker_id.partition("@")[0])
            for job_id in (large, asked)
            async for progress in client.progress(job_id)
        }
        assert engines == {("ray", "ray")}
    await assert_invariants(bootstrap, prefix, expect_jobs={large, small, asked})
    await wait_until(lambda: not runner_pids(ray_head), description="idle runners have ended")


async def test_work_comes_back_after_the_runners_left(mesh: MeshServices, ray_head: EmbeddedRay) -> None:
    """A driver whose runners have ended by themselves gets others."""
    async with Client(mesh.settings.kafka_bootstrap, mesh.settings.topic_prefix) as client:
        for _ in range(2):
            end = await client.wait((await client.submit(square_roots(8, engine="ray"))).job_id, WAIT_SECONDS)
            assert (end.status, end.engine) == ("completed", "ray")
            await wait_until(lambda: not runner_pids(ray_head), description="idle runners have ended")


async def test_a_router_that_was_killed_takes_its_driver_along_and_not_the_runners(
    mesh: MeshServices, ray_head: EmbeddedRay
) -> None:
    """Runners are detached: what they run goes on without a router, and the next router gets them by name."""
    async with Client(mesh.settings.kafka_bootstrap, mesh.settings.topic_prefix) as client:
        job_id = (await client.submit(square_roots(ITEMS))).job_id
        await wait_until(lambda: runner_pids(ray_head), description="a runner is there")
        mesh.router.kill()
        assert runner_pids(ray_head)
        await mesh.router.bring_up()
        end = await client.wait(job_id, WAIT_SECONDS)
        assert (end.status, end.items_succeeded) == ("completed", ITEMS)
