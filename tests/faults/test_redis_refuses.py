"""Redis answers and refuses while jobs run, in each of the ways that people report: nothing ends, nothing is lost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from eldermesh.client import Client
from eldermesh.contract.commands import JobSubmit
from tests.fresh_topics import AnyBroker
from tests.mesh_services import mesh_services
from tests.public_topics import assert_invariants
from tests.refusing_redis import WAYS, refusing
from tests.waiting import wait_until

REFUSED_SECONDS = float(os.environ.get("MESH_TEST_AWAY_SECONDS", "10"))
"""How long Redis refuses; 90 is what is promised to be outlived."""

RECOVERED_SECONDS = 15.0
WAIT_SECONDS = 120.0

pytestmark = pytest.mark.timeout(600)


def sleeping(items: int) -> JobSubmit:
    """A job of a twentieth of a second an item."""
    return JobSubmit(workload="python", items=[0.05] * items, options={"function": "time:sleep"})


@pytest.mark.parametrize("way", WAYS)
async def test_jobs_outlive_a_redis_that_refuses(way: str, apache_kafka: str, tmp_path: Path) -> None:
    """A job runs, another one is submitted meanwhile: both end, and neither router nor worker has ended before.

    Whatever waits has begun again 15 seconds after Redis takes writes, at the latest: a new job ends by then.
    """
    broker = AnyBroker(apache_kafka, "kafka")
    async with (
        mesh_services(
            *broker,
            tmp_path,
            python_functions="time:sleep",
            lease_seconds=2.0,
            heartbeat_seconds=0.5,
            chunk_items=10,
            group_session_seconds=6.0,
        ) as mesh,
        Client(broker.bootstrap, mesh.settings.topic_prefix) as client,
    ):
        worker, router = mesh.worker.pid, mesh.router.pid
        first = await client.submit(sleeping(120))
        async for progress in client.progress(first.job_id):
            if progress.items_ended >= 20:
                break
        loop = asyncio.get_running_loop()
        async with refusing(mesh.redis, way):
            until = loop.time() + REFUSED_SECONDS
            second = await client.submit(sleeping(20))

            def long_enough() -> bool:
                assert (mesh.worker.pid, mesh.router.pid) == (worker, router), "a service has ended"
                return loop.time() > until

            await wait_until(long_enough, description="it was long enough", timeout_seconds=REFUSED_SECONDS + 60.0)
        async with asyncio.timeout(RECOVERED_SECONDS):
            third = await client.submit(sleeping(2))
            assert (await client.wait(third.job_id, WAIT_SECONDS)).status == "completed"
        ends = [await client.wait(job.job_id, WAIT_SECONDS) for job in (first, second)]
        assert [(end.status, end.items_succeeded) for end in ends] == [("completed", 120), ("completed", 20)]
        assert (mesh.worker.pid, mesh.router.pid) == (worker, router)
        expected = {first.job_id, second.job_id, third.job_id}
        await assert_invariants(broker.bootstrap, mesh.settings.topic_prefix, expect_jobs=expected)
