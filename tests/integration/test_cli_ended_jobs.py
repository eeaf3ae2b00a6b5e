"""What people read of jobs that have ended: what was not run, and what took the time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from shared.facts.fact import InboxRecord
from shared.facts.jobs import JobCancelRequested
from tests.fresh_topics import AnyBroker
from tests.integration.seeded_mesh import SeededMesh, seeded_mesh
from tests.unit.cli.job_facts import completed, routed

SUBMIT: dict[str, Any] = {"workload": "python", "options": {"function": "math:sqrt"}, "items": [1, 4, 9, 16]}


@pytest.fixture
async def mesh(embedded_broker: str, redis_server: str, tmp_path: Path) -> AsyncIterator[SeededMesh]:
    """Topics and Redis keys of this test alone, on the embedded broker."""
    async with seeded_mesh(AnyBroker(embedded_broker, "embedded"), redis_server, data_dir=tmp_path) as seeded:
        yield seeded


async def test_what_a_cancelled_job_did_not_run(mesh: SeededMesh) -> None:
    """`status` counts it, and says no reason where there is none; `results` says on standard error what is missing."""
    job_id = str(uuid4())
    await mesh.accept(job_id, SUBMIT)
    cancel = JobCancelRequested(inbox=InboxRecord(topic="jobs", partition=0, offset=99))
    await mesh.append(job_id, (20, routed(chunk_items=2)), (30, completed(job_id, 2, 3)), (40, cancel))
    await mesh.settle()

    status, results = await mesh.run("status", job_id), await mesh.run("results", job_id)
    as_json = await mesh.run("results", job_id, "--json")

    assert "2 succeeded, 2 not run of 4" in status.stdout
    assert "why" not in status.stdout
    assert results.stderr == "no result of 2 of 4 items\n"
    assert (as_json.stdout, as_json.stderr) == (results.stdout, "")


async def test_why_tells_of_the_start_of_ray_where_it_may_count(mesh: SeededMesh) -> None:
    """Of a queue of seconds, not of one that is shorter than any start."""
    for queued_ms, is_told in ((1500, True), (20, False)):
        job_id, began = str(uuid4()), mesh.began_ms
        await mesh.accept(job_id, SUBMIT)
        times = (began + 40, began + 40 + queued_ms, began + 1700)
        by_ray = routed(chunk_items=4).model_copy(update={"engine": "ray"})
        await mesh.append(job_id, (40, by_ray), (1700, completed(job_id, 0, 3, times=times)))
        await mesh.settle()
        assert ("the start of its head" in (await mesh.run("why", job_id)).stdout) is is_told


async def test_why_of_a_job_that_was_stopped(mesh: SeededMesh) -> None:
    """The history tells nothing of a run that gave no result: the queue says that one may be in it."""
    job_id = str(uuid4())
    await mesh.accept(job_id, SUBMIT)
    cancel = JobCancelRequested(inbox=InboxRecord(topic="jobs", partition=0, offset=7))
    await mesh.append(job_id, (40, routed(chunk_items=4)), (4_000, cancel))
    await mesh.settle()

    answer = (await mesh.run("why", job_id, "--json")).answer("mesh-why")
    text = await mesh.run("why", job_id)

    assert answer["items_not_run"] == 4
    assert "not run   4 items; the time of runs that were stopped before their first result" in text.stdout
