"""Sages that are killed, late or warming: every job runs, and its history says what was heard of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from eldermesh.client import Client
from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.commands import JobSubmit
from eldermesh_cli.stack.servers.mesh_services import sages_service
from eldermesh_cli.stack.service import Service
from shared.facts.jobs import JobAdvised, JobFact, JobRouted, decode_job_fact
from shared.kafka.topics import JOBS_HISTORY
from shared.settings import Settings
from tests.mesh_services import mesh_services
from tests.waiting import wait_until
from tests.whole_topic import read_topic

WAIT_SECONDS = 300.0
JOB = JobSubmit(workload="python", items=[4, 9], options={"function": "math:sqrt"})


async def _facts(settings: Settings, job_id: str) -> list[JobFact]:
    """The facts of a job, in the order of its history."""
    return [
        decode_job_fact(header_text(record.headers, "ce_type") or "", record.value)
        for record in await read_topic(settings, JOBS_HISTORY)
        if record.key == job_id.encode()
    ]


async def _heard(settings: Settings, job_id: str) -> dict[str, str]:
    """Status by sage, as the job's decision was made of it: what came before, and what it says itself."""
    heard: dict[str, str] = {}
    for fact in await _facts(settings, job_id):
        if isinstance(fact, JobAdvised):
            heard |= {entry.sage: entry.status for entry in fact.entries}
        if isinstance(fact, JobRouted):
            return {entry.sage: entry.status for entry in fact.advice} | heard
    raise AssertionError("the job was not routed")


async def _run(client: Client, settings: Settings) -> dict[str, str]:
    """Run a job to its end; what its decision heard of sages."""
    submitted = await client.submit(JOB)
    end = await client.wait(submitted.job_id, WAIT_SECONDS)
    assert (end.status, end.items_succeeded) == ("completed", 2)
    return await _heard(settings, submitted.job_id)


@asynccontextmanager
async def _sages(settings: Settings, log_dir: Path) -> AsyncIterator[Service]:
    service = Service(sages_service(settings), log_dir=log_dir)
    await service.bring_up()
    try:
        yield service
    finally:
        await service.shut_down()


async def test_killed_sages_cost_a_job_its_wait_and_no_more(embedded_broker: str, tmp_path: Path) -> None:
    """Decisions hear them; killed at work, and while they are gone, jobs go on; back, they are heard again."""
    async with (
        mesh_services(embedded_broker, "embedded", tmp_path, advise_seconds=1.0, sage_seconds=0.9) as mesh,
        Client(embedded_broker, mesh.settings.topic_prefix) as client,
        _sages(mesh.settings, mesh.log_dir) as sages,
    ):

        async def task_is_heard() -> bool:
            return (await _run(client, mesh.settings)).get("task") == "ok"

        await wait_until(task_is_heard, description="the task sage is heard")
        at_work = [await client.submit(JOB) for _ in range(10)]
        assert sages.pid is not None
        os.kill(sages.pid, signal.SIGKILL)
        await sages.wait()
        ends = await asyncio.gather(*(client.wait(each.job_id, WAIT_SECONDS) for each in at_work))
        assert {end.status for end in ends} == {"completed"}
        alone = await _run(client, mesh.settings)
        assert (alone["panel"], alone.get("task")) == ("late", None)
        await sages.bring_up()
        await wait_until(task_is_heard, description="the task sage is heard again")


async def test_sages_that_are_late_or_warming_hold_up_nothing(embedded_broker: str, tmp_path: Path) -> None:
    """The advice says so, in the same fact; a memory that cannot be kept is one that never catches up."""
    (tmp_path / "sages").write_bytes(b"in the way of the files")
    async with (
        mesh_services(embedded_broker, "embedded", tmp_path, advise_seconds=60.0) as mesh,
        Client(embedded_broker, mesh.settings.topic_prefix) as client,
    ):
        async with _sages(mesh.settings, mesh.log_dir):
            assert (await _run(client, mesh.settings))["task"] == "warming"
        (tmp_path / "sages").unlink()
        async with _sages(mesh.settings.model_copy(update={"sage_seconds": 1e-6}), mesh.log_dir):

            async def task_is_late() -> bool:
                return (await _run(client, mesh.settings)).get("task") == "late"

            await wait_until(task_is_late, description="the task sage has caught up, and is late")
