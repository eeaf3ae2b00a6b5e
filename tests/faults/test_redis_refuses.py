"""Redis answers and refuses while jobs run, in each of the ways that people report: nothing ends, nothing is lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from eldermesh.client import Client, ClientError
from eldermesh.contract.commands import JobSubmit
from tests.mesh_diagnosis import diagnosis
from tests.mesh_services import MeshServices, mesh_services
from tests.public_topics import assert_invariants
from tests.refusing_redis import WAYS, refusing
from tests.waiting import wait_until

REFUSED_SECONDS = float(os.environ.get("MESH_TEST_AWAY_SECONDS", "10"))
"""How long Redis refuses; 90 is what is promised to be outlived."""

RECOVERED_SECONDS = 15.0
WAIT_SECONDS = 300.0

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True, slots=True)
class Outlived:
    """A mesh whose Redis refuses again and again; router and worker are those of its beginning."""

    mesh: MeshServices
    client: Client
    pids: tuple[int | None, int | None]
    jobs: set[str] = field(default_factory=set)

    def assert_nothing_ended(self) -> None:
        """No service has ended since the beginning."""
        assert (self.mesh.worker.pid, self.mesh.router.pid) == self.pids, "a service has ended"

    async def submit(self, items: int) -> str:
        """A job of a twentieth of a second an item; its id."""
        job = JobSubmit(workload="python", items=[0.05] * items, options={"function": "time:sleep"})
        submitted = await self.client.submit(job)
        self.jobs.add(submitted.job_id)
        return submitted.job_id


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outlived(apache_kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Outlived]:
    """One mesh for all ways: what one of them leaves behind must not hurt in the next."""
    async with (
        mesh_services(
            apache_kafka,
            "kafka",
            tmp_path_factory.mktemp("outlived"),
            python_functions="time:sleep",
            lease_seconds=5.0,
            heartbeat_seconds=0.5,
            chunk_items=10,
            group_session_seconds=6.0,
        ) as mesh,
        Client(apache_kafka, mesh.settings.topic_prefix) as client,
    ):
        yield Outlived(mesh, client, (mesh.worker.pid, mesh.router.pid))


@pytest.mark.parametrize("way", WAYS)
async def test_jobs_outlive_a_redis_that_refuses(way: str, outlived: Outlived) -> None:
    """A job runs, another one is submitted meanwhile: both end, and neither router nor worker has ended before.

    Whatever waits has begun again 15 seconds after Redis takes writes, at the latest: a new job ends by then.
    """
    try:
        await _outlives(way, outlived)
    except (AssertionError, ClientError) as error:
        mesh = outlived.mesh
        error.add_note(await diagnosis(mesh.settings, [mesh.redis.service, mesh.router, mesh.worker]))
        raise


async def _outlives(way: str, outlived: Outlived) -> None:
    client, settings = outlived.client, outlived.mesh.settings
    loop = asyncio.get_running_loop()
    began = loop.time()
    early = await outlived.submit(2)
    assert (await client.wait(early, WAIT_SECONDS)).status == "completed"
    usual_seconds = loop.time() - began
    first = await outlived.submit(120)
    async for progress in client.progress(first):
        if progress.items_ended >= 20:
            break
    async with refusing(outlived.mesh.redis, way):
        until = loop.time() + REFUSED_SECONDS
        second = await outlived.submit(20)

        def long_enough() -> bool:
            outlived.assert_nothing_ended()
            return loop.time() > until

        await wait_until(long_enough, description="it was long enough", timeout_seconds=REFUSED_SECONDS + 60.0)
    async with asyncio.timeout(RECOVERED_SECONDS + 2 * usual_seconds):
        third = await outlived.submit(2)
        assert (await client.wait(third, WAIT_SECONDS)).status == "completed"
    ends = [await client.wait(job_id, WAIT_SECONDS) for job_id in (first, second)]
    assert [(end.status, end.items_succeeded) for end in ends] == [("completed", 120), ("completed", 20)]
    outlived.assert_nothing_ended()
    await assert_invariants(settings.kafka_bootstrap, settings.topic_prefix, expect_jobs=outlived.jobs)
