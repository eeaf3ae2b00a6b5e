"""`kill -9` of what Ray is made of during a job: the job ends once, each item counts once."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from eldermesh.client import Client
from eldermesh.contract.commands import JobSubmit
from eldermesh_cli.stack.servers.ray import EmbeddedRay
from shared.kafka.topics import JOBS_HISTORY
from tests.fresh_topics import AnyBroker
from tests.integration.item_pids import begun, let_go
from tests.integration.played_owner import FUNCTIONS
from tests.leaks import living_below
from tests.mesh_services import MeshServices, mesh_services
from tests.public_topics import assert_invariants
from tests.ray_head import reaching, runner_pids
from tests.waiting import wait_until
from tests.whole_topic import read_topic

pytestmark = pytest.mark.slow

ITEMS = 300
WAIT_SECONDS = 300.0


@asynccontextmanager
async def head_of_its_own(directory: Path) -> AsyncIterator[EmbeddedRay]:
    """A head to be killed; no process of it is left afterwards."""
    before = set(living_below(os.getpid()))
    head = EmbeddedRay(directory / "ray-head", cpus=2)
    await head.start()
    try:
        yield head
    finally:
        await head.stop()
    assert set(living_below(os.getpid())) <= before, "a process of Ray is left"


async def kill_runner(head: EmbeddedRay) -> None:
    """One of the runners that are there."""
    pids = await wait_until(lambda: runner_pids(head), description="a runner is there")
    os.kill(min(pids), signal.SIGKILL)


async def kill_raylet(head: EmbeddedRay) -> None:
    """The node under all runners: the head cannot live without, ends, and is started again."""
    (raylet,) = [pid for pid, name in family(head).items() if name == "raylet"]
    os.kill(raylet, signal.SIGKILL)
    await head.service.wait()
    await head.service.bring_up()


async def kill_head(head: EmbeddedRay) -> None:
    """All of it at once."""
    assert head.service.pid is not None
    os.kill(head.service.pid, signal.SIGKILL)
    await head.service.wait()
    await head.service.bring_up()


async def kill_gcs(head: EmbeddedRay) -> None:
    """The head's memory of what there is."""
    (gcs,) = [pid for pid, name in family(head).items() if name == "gcs_server"]
    os.kill(gcs, signal.SIGKILL)
    await head.service.wait()
    await head.service.bring_up()


def family(head: EmbeddedRay) -> dict[int, str]:
    """All processes of the head, by pid, with their names."""
    assert head.service.leash_pid is not None
    return {each.pid: each.name() for each in psutil.Process(head.service.leash_pid).children(recursive=True)}


async def assert_survives(
    broker: AnyBroker, directory: Path, faults: list[Callable[[EmbeddedRay, MeshServices], Awaitable[None]]]
) -> None:
    """A job of `ITEMS` items in chunks of 15 on two runners, the faults spread over it."""
    bootstrap, profile = broker
    async with (
        head_of_its_own(directory) as head,
        mesh_services(
            bootstrap,
            profile,
            directory,
            python_functions="time:sleep",
            lease_seconds=5.0,
            heartbeat_seconds=0.5,
            chunk_items=15,
            group_session_seconds=6.0 if profile == "kafka" else None,
            **reaching(head),
        ) as mesh,
        Client(bootstrap, mesh.settings.topic_prefix) as client,
    ):
        job = JobSubmit(workload="python", items=[0.05] * ITEMS, options={"function": "time:sleep"})
        submitted = await client.submit(job)
        left = list(faults)
        next_fault_at, items_ended = ITEMS // 10, 0
        async for progress in client.progress(submitted.job_id):
            items_ended = progress.items_ended
            if items_ended >= next_fault_at and left:
                await left.pop(0)(head, mesh)
                next_fault_at = items_ended + ITEMS // (2 * len(faults) + 1)
        assert not left, "the job was over before every fault"
        end = await client.wait(submitted.job_id, WAIT_SECONDS)
        assert (end.status, end.engine, end.items_succeeded, items_ended) == ("completed", "ray", ITEMS, ITEMS)
        await assert_invariants(bootstrap, mesh.settings.topic_prefix, expect_jobs={submitted.job_id})


@pytest.mark.kafka
async def test_runners_and_the_router_are_killed(apache_kafka: str, tmp_path: Path) -> None:
    """A runner, the router with its driver, and another runner: others take over what they had."""

    async def runner(head: EmbeddedRay, _: MeshServices) -> None:
        await kill_runner(head)

    async def router(_: EmbeddedRay, mesh: MeshServices) -> None:
        mesh.router.kill()
        await mesh.router.bring_up()

    await assert_survives(AnyBroker(apache_kafka, "kafka"), tmp_path, [runner, router, runner])


async def test_the_head_is_killed(embedded_broker: str, tmp_path: Path) -> None:
    """Three times, by each of its parts, in one job: Ray comes back empty, the router's next driver has others made.

    What waited runs there.
    """

    async def raylet(head: EmbeddedRay, _: MeshServices) -> None:
        await kill_raylet(head)

    async def gcs(head: EmbeddedRay, _: MeshServices) -> None:
        await kill_gcs(head)

    async def whole(head: EmbeddedRay, _: MeshServices) -> None:
        await kill_head(head)

    await assert_survives(AnyBroker(embedded_broker, "embedded"), tmp_path, [raylet, gcs, whole])


async def test_a_runner_that_is_told_to_stop_has_not_died(embedded_broker: str, tmp_path: Path) -> None:
    """SIGTERM in the middle of a chunk: the runner gives it back, and another one runs the rest as attempt 1."""
    async with (
        head_of_its_own(tmp_path) as head,
        mesh_services(
            embedded_broker,
            "embedded",
            tmp_path,
            python_functions=f"{FUNCTIONS}:*",
            chunk_items=3,
            slots=1,
            **reaching(head),
        ) as mesh,
        Client(embedded_broker, mesh.settings.topic_prefix) as client,
    ):

        async def facts() -> list[str]:
            records = await read_topic(mesh.settings, JOBS_HISTORY)
            return [dict(record.headers)["ce_type"].decode() for record in records]

        async def is_interrupted() -> bool:
            return "chunk.interrupted" in await facts()

        first, second, third = items = [tmp_path / name for name in ("first", "second", "third")]
        function = f"{FUNCTIONS}:until_let_go"
        paths = [str(path) for path in items]
        job = JobSubmit(workload="python", items=[*paths], engine="ray", options={"function": function})
        submitted = await client.submit(job)
        await let_go(first)
        async for progress in client.progress(submitted.job_id, timeout_seconds=WAIT_SECONDS):
            assert progress.sequence == 1
            break
        await begun(second)
        (pid,) = runner_pids(head)
        os.kill(pid, signal.SIGTERM)
        await wait_until(is_interrupted, description="the chunk is given back")
        await let_go(second)
        await let_go(third)
        end = await client.wait(submitted.job_id, WAIT_SECONDS)
        assert (end.status, end.engine, end.items_succeeded) == ("completed", "ray", 3)
        assert [result.attempt async for result in client.results(submitted.job_id)] == [1, 1, 1]
        kinds = await facts()
        assert (kinds.count("chunk.interrupted"), kinds.count("job.replanned")) == (1, 0)
        await assert_invariants(embedded_broker, mesh.settings.topic_prefix, expect_jobs={submitted.job_id})
