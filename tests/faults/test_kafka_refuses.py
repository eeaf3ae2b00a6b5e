"""Apache Kafka that answers and refuses, or does not answer, with jobs running: nothing is lost, nothing given up.

`MESH_TEST_AWAY_SECONDS` says for how long; the default is a little more than a producer waits for one answer.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import admin as confluent_admin

from eldermesh.client import Client
from shared.health.parts import CELERY_RUNNERS, ROUTER
from shared.settings import Settings
from tests.kafka_server import KafkaServer, kafka_missing
from tests.mesh_services import mesh_services
from tests.public_topics import assert_invariants
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

REFUSAL_SECONDS = float(os.environ.get("MESH_TEST_AWAY_SECONDS", "20"))
RECOVERED_SECONDS = 15.0
"""Longest time after the refusal until all goes on, beyond what a job takes anyway."""

_ANYBODY = "User:ANONYMOUS"
_ANSWER_SECONDS = 30.0
_AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}

Trouble = Callable[[KafkaServer, str], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def refusing(kafka: KafkaServer, prefix: str) -> AsyncIterator[None]:
    """Nobody may write to histories and public topics of jobs; all else is allowed and answered, the inbox included."""
    kafka_admin: Any = confluent_admin  # its types do not name all that it exports
    client = kafka_admin.AdminClient({"bootstrap.servers": kafka.bootstrap})
    where = (kafka_admin.ResourceType.TOPIC, f"{prefix}jobs.", kafka_admin.ResourcePatternType.PREFIXED, _ANYBODY, "*")
    allowed = (*where, kafka_admin.AclOperation.ALL, kafka_admin.AclPermissionType.ALLOW)
    denied = (*where, kafka_admin.AclOperation.WRITE, kafka_admin.AclPermissionType.DENY)
    for acl in (allowed, denied):
        (created,) = client.create_acls([kafka_admin.AclBinding(*acl)]).values()
        await asyncio.to_thread(created.result, _ANSWER_SECONDS)
    try:
        yield
    finally:
        (removed,) = client.delete_acls([kafka_admin.AclBindingFilter(*denied)]).values()
        assert await asyncio.to_thread(removed.result, _ANSWER_SECONDS), "the refusal was not taken back"


@asynccontextmanager
async def frozen(kafka: KafkaServer, prefix: str) -> AsyncIterator[None]:
    """The broker's process is stopped: its connections stay open and say nothing."""
    assert kafka.service.pid is not None
    os.kill(kafka.service.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(kafka.service.pid, signal.SIGCONT)


async def told_by_workers(settings: Settings) -> bool:
    """Whether the health check of the worker's container says that results are not acknowledged."""
    trouble = await CELERY_RUNNERS.trouble(settings)
    return "acknowledged no record" in (trouble or "")


async def told_by_router(settings: Settings) -> bool:
    """Whether the health check of the router's container says that its records are not, or that Kafka is silent."""
    trouble = await ROUTER.trouble(settings) or ""
    return "acknowledged no record" in trouble or "the broker does not answer" in trouble


async def nobody_tells(settings: Settings) -> bool:
    """Whether both are content."""
    return await ROUTER.trouble(settings) is None and not await told_by_workers(settings)


@pytest.mark.timeout(900 + 2 * REFUSAL_SECONDS)
@pytest.mark.parametrize("trouble", [refusing, frozen])
async def test_kafka_refuses_for_long(tmp_path: Path, trouble: Trouble) -> None:
    """Jobs run, wait and are held up by it; afterwards each ends completed, once, and so does a new one."""
    missing = kafka_missing()
    if missing is not None:
        pytest.skip(missing)
    kafka = KafkaServer(tmp_path / "kafka", settings=_AUTHORIZER)
    await kafka.start()
    try:
        async with (
            mesh_services(kafka.bootstrap, "kafka", tmp_path, python_functions="time:sleep", chunk_items=5) as mesh,
            Client(kafka.bootstrap, mesh.settings.topic_prefix) as client,
        ):
            router, worker = mesh.router.pid, mesh.worker.pid

            async def submit(items: int) -> str:
                sent = await client.submit(
                    workload="python", items=[0.1] * items, options={"function": "time:sleep"}, advice="none"
                )
                return sent.job_id

            began = time.monotonic()
            first = await submit(20)
            assert (await client.wait(first, 120.0)).status == "completed"
            usual_seconds = time.monotonic() - began

            running = await submit(200)
            progress = client.progress(running)
            await anext(progress)
            waiting = [await submit(20) for _ in range(2)]
            async with trouble(kafka, mesh.settings.topic_prefix):
                if trouble is refusing:
                    # The router may have nothing else to send: no results come, and what was routed stays so.
                    waiting.append(await submit(20))
                await asyncio.sleep(REFUSAL_SECONDS)
                for told in (told_by_workers, told_by_router):
                    await wait_until(partial(told, mesh.settings), description=f"{told.__name__}: Kafka takes nothing")
                assert (mesh.router.pid, mesh.worker.pid) == (router, worker), "a process has ended"
            over = time.monotonic()
            await wait_until(lambda: anext(progress), description="the job that ran goes on", timeout_seconds=120.0)
            await client.wait(waiting[0], 120.0)
            recovered_seconds = time.monotonic() - over
            await progress.aclose()
            await wait_until(lambda: nobody_tells(mesh.settings), description="the health checks are content")
            jobs = [running, *waiting, await submit(20)]
            ends = [await client.wait(job_id, 180.0) for job_id in jobs]
            assert [(end.status, end.items_succeeded) for end in ends] == [
                ("completed", items) for items in (200, *[20] * (len(jobs) - 1))
            ]
            assert (mesh.router.pid, mesh.worker.pid) == (router, worker), "a process has ended"
            assert recovered_seconds < RECOVERED_SECONDS + 2 * usual_seconds
            await assert_invariants(kafka.bootstrap, mesh.settings.topic_prefix, expect_jobs={first, *jobs})
    finally:
        kafka.kill()
