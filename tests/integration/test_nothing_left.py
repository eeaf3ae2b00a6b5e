"""When all jobs have ended, nothing of them is left but their ends; when a mesh has stopped, nothing of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from redis.asyncio import Redis

from eldermesh.client import Client
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from eldermesh_cli.stack.service import Service
from services.router.app import make_app
from services.router.engines.celery.queue import CeleryDispatcher
from services.router.read_model.lookup import JobLookup
from shared.health.parts import ROUTER
from shared.history.foreign_state import celery_key_prefix
from shared.history.keys import PartitionKeys
from shared.kafka.topics import JOBS_HISTORY
from shared.redis_client import make_redis
from shared.settings import Settings
from tests.integration.owned import wait_all_gone
from tests.integration.test_path import WAIT_SECONDS, square_roots
from tests.leaks import family_tree, living_below
from tests.mesh_services import MeshServices, mesh_services
from tests.serving import serving
from tests.waiting import wait_until

FUNCTIONS = "math:*,time:sleep"

pytestmark = pytest.mark.slow


@pytest.fixture
async def mesh(embedded_broker: str, nothing_left: None, tmp_path: Path) -> AsyncIterator[MeshServices]:
    """A mesh that was not started."""
    async with mesh_services(
        *(embedded_broker, "embedded", tmp_path),
        start=False,
        python_functions=FUNCTIONS,
        chunk_items=3,
        drain_seconds=2.0,
    ) as mesh:
        yield mesh


async def end_jobs_in_every_way(settings: Settings) -> set[str]:
    """Completed, failed in three ways, cancelled while running and before the submit; return their ids."""
    sleep: dict[str, Any] = {"workload": "python", "options": {"function": "time:sleep"}}
    async with Client(settings.kafka_bootstrap, settings.topic_prefix) as client:
        early = str(uuid4())
        await client.cancel(early, "not needed")
        running = await client.submit(items=[30] * 10, **sleep)
        jobs = {
            running.job_id: "cancelled",
            (await client.submit(square_roots([4.0] * 20))).job_id: "completed",
            (await client.submit(square_roots([4.0, -1.0]))).job_id: "failed",
            (await client.submit(items=[30], item_timeout_seconds=0.5, **sleep)).job_id: "failed",
            (await client.submit(items=[30] * 4, active_timeout_seconds=1.0, **sleep)).job_id: "failed",
        }
        await client.cancel(running.job_id, "enough")
        jobs[(await client.submit(square_roots([4.0], job_id=early))).job_id] = "cancelled"
        assert {job_id: (await client.wait(job_id, WAIT_SECONDS)).status for job_id in jobs} == jobs
        return set(jobs)


async def assert_only_ends_left(settings: Settings, redis: Redis, jobs: set[str]) -> None:
    """Redis keeps the marked end of these jobs, and what items took; nothing of chunks and tasks; no other key."""
    topic = settings.topic(JOBS_HISTORY)
    partitions = [PartitionKeys(topic, number) for number in range(settings.partition_count)]
    celery = CeleryDispatcher(settings)

    async def left() -> list[str]:
        keys = [key for each in partitions for key in (each.specs, each.current, each.claims, each.bitmaps)]
        found = [key for key in keys if await redis.exists(key)]
        depths = await celery.queue_depths()
        return found + [f"{depths}"] * bool(depths.unacknowledged or sum(depths.waiting.values()))

    async def nothing() -> bool:
        return not await left()

    try:
        await wait_until(nothing, description="specs, chunks, claims, bitmaps and tasks are gone")
    finally:
        await celery.close()
    states = {state.job_id: state async for state in JobLookup(redis, topic, settings.partition_count).states()}
    assert set(states) == jobs
    assert all(state.marked and state.end is not None and not state.plan for state in states.values())
    known = {key for each in partitions for key in (each.meta, each.states, each.settled, each.measurements)}
    known.add(f"{{h:{settings.topic_prefix}}}:incarnation")
    queues = f"{celery_key_prefix(settings)}_kombu.binding"

    async def only_known() -> bool:
        names = {name.decode() async for name in redis.scan_iter()}
        return all(name in known or name.startswith(queues) for name in names)

    # What a connection writes to see whether Redis takes writes is there for a second.
    await wait_until(only_known, description="no key that nobody accounts for")


async def test_of_ended_jobs_only_their_ends(mesh: MeshServices) -> None:
    """Jobs that ended in every way leave no spec, chunk, claim, bitmap, task, nor a process that still runs an item."""
    await mesh.router.bring_up()
    await mesh.worker.bring_up()
    jobs = await end_jobs_in_every_way(mesh.settings)
    async with aclosing(make_redis(mesh.settings)) as redis:
        await assert_only_ends_left(mesh.settings, redis, jobs)
    slots = mesh.settings.slots
    worker = of(mesh.worker)
    # What ran an item of a cancelled job is killed after the job has ended.
    try:
        await wait_until(
            lambda: holds_one_host_a_slot(worker.pid, slots),
            description="a child for each slot, with one warm host",
        )
    except AssertionError as error:
        error.add_note("\n".join(family_tree(worker.pid)))
        raise
    services = [worker, of(mesh.router)]
    family = services + [process for service in services for process in living_below(service.pid)]
    assert not await mesh.worker.shut_down()
    assert not await mesh.router.shut_down()
    assert len(family) >= 2 + slots
    await wait_all_gone(family)


def holds_one_host_a_slot(worker: int, slots: int) -> bool:
    """Whether a worker has no more than a child for each slot, and each of these no more than a host on its leash."""
    children = psutil.Process(worker).children()
    try:
        return len(children) <= slots and all(len(child.children(recursive=True)) <= 2 for child in children)
    except psutil.NoSuchProcess:  # one is ending
        return False


def of(service: Service) -> ProcessIdentity:
    """The process of a service that runs."""
    assert service.pid is not None
    identity = ProcessIdentity.of(service.pid)
    assert identity is not None
    return identity


async def test_a_router_that_stops_leaves_no_task(mesh: MeshServices) -> None:
    """The router inside this process, with jobs ended and one that runs: afterwards no task, thread or connection."""
    await mesh.worker.bring_up()
    async with serving(make_app(mesh.settings), mesh.settings, ROUTER.trouble):
        await end_jobs_in_every_way(mesh.settings)
        async with Client(mesh.settings.kafka_bootstrap, mesh.settings.topic_prefix) as client:
            await client.submit(square_roots([30.0], options={"function": "time:sleep"}))
            async with aclosing(make_redis(mesh.settings)) as redis:
                topic = mesh.settings.topic(JOBS_HISTORY)
                keys = [PartitionKeys(topic, number).claims for number in range(mesh.settings.partition_count)]

                async def claimed() -> bool:
                    return any([await redis.exists(key) for key in keys])

                await wait_until(claimed, description="the job runs")
