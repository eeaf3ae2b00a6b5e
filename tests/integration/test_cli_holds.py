"""`mesh approve` and `mesh reject`: what they do, what they say, and what they refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.times import format_time
from services.router.admission.commands import JobAdmission
from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.facts.fact import TimerFired
from shared.facts.jobs import JobDecided, JobHeld
from shared.kafka.topics import JOBS_DECISIONS, JOBS_HISTORY
from shared.workloads import WorkloadRegistry
from tests.fresh_topics import AnyBroker
from tests.integration.seeded_mesh import SeededMesh, seeded_mesh
from tests.played_router import played_router
from tests.unit.cli.command_line import Ran
from tests.unit.cli.job_facts import routed
from tests.waiting import wait_until
from tests.whole_topic import read_topic

SUBMIT: dict[str, Any] = {"workload": "python", "options": {"function": "math:sqrt"}, "items": [1, 4]}
HOUR_MS = 3_600_000


@pytest.fixture
async def mesh(embedded_broker: str, redis_server: str, tmp_path: Path) -> AsyncIterator[SeededMesh]:
    """Topics and Redis keys of this test alone, on the embedded broker."""
    async with seeded_mesh(AnyBroker(embedded_broker, "embedded"), redis_server, data_dir=tmp_path) as seeded:
        yield seeded


async def held(mesh: SeededMesh, *, submitted_by: str | None = None) -> str:
    """A job that is held for two hours since the beginning."""
    job_id = str(uuid4())
    await mesh.accept(job_id, SUBMIT if submitted_by is None else SUBMIT | {"submitted_by": submitted_by})
    until = mesh.began_ms + 2 * HOUR_MS
    await mesh.append(job_id, (20, JobHeld(n=0, reason="may write files", until=until)))
    await mesh.settle()
    return job_id


@asynccontextmanager
async def deciding(mesh: SeededMesh, begin: asyncio.Event | None = None) -> AsyncIterator[None]:
    """Admission reads decisions, and owners fold what it appends, once they are to begin."""
    admission = JobAdmission(mesh.settings, mesh.producer, WorkloadRegistry.installed())
    subscription = Subscription(JOBS_DECISIONS, "test.decisions", admission)
    consumer = InboxConsumer(mesh.settings, [subscription], mesh.producer)

    async def fold() -> None:
        if begin is not None:
            await begin.wait()
        while True:
            await mesh.settle()
            await asyncio.sleep(0.1)

    with capture_logs():  # the verbs run in this process, too, and their standard output is data
        await consumer.start()
        folding = asyncio.create_task(fold())
        try:
            yield
        finally:
            folding.cancel()
            await asyncio.wait({folding})
            await consumer.stop()


def assert_refused(ran: Ran, status: int, error_type: str, words: str) -> None:
    """The verb failed like this."""
    error = ran.error()
    assert (ran.status, error["error_type"]) == (status, error_type)
    assert words in f"{error['message']} {error['hint']}"


async def test_approve_and_reject(mesh: SeededMesh) -> None:
    """The answer comes when the state has changed; `status` and `list` say who decided, and what waits."""
    approved, rejected, also_rejected, waiting = [await held(mesh, submitted_by="ann") for _ in range(4)]
    listed = (await mesh.run("list", "--state", "held", "--json")).answer("mesh-list")
    assert {job["job_id"] for job in listed["jobs"]} == {approved, rejected, also_rejected, waiting}
    async with deciding(mesh):
        go_on = await mesh.run("approve", approved, "--by", "bob", "--reason", "looks fine", "--json")
        stop = await mesh.run("reject", rejected, "--json", LOGNAME="eve")
        other = await mesh.run("reject", also_rejected, "--by", "eve")
        assert_refused(
            await mesh.run("approve", approved, "--by", "joe", "--json"), 4, "conflict", "does not wait for a decision"
        )

    assert go_on.answer("mesh-approve") == {
        "job_id": approved,
        "state": "accepted",
        "decision": "approve",
        "by": "bob",
        "reason": "looks fine",
    }
    answer = stop.answer("mesh-reject")
    assert (answer["state"], answer["decision"], answer["by"], answer["reason"]) == ("rejected", "reject", "eve", None)
    assert (go_on.status, stop.status, go_on.stderr) == (0, 0, "")

    status = (await mesh.run("status", approved, "--json")).answer("mesh-status")
    (hold,) = status["holds"]
    assert (hold["outcome"], hold["by"], hold["decision_reason"]) == ("approved", "bob", "looks fine")
    assert hold["held_at"] == format_time(mesh.began_ms + 20)
    assert "approved by bob" in (await mesh.run("status", approved)).stdout
    ended = (await mesh.run("status", rejected, "--json")).answer("mesh-status")
    assert (ended["state"], ended["error_type"], ended["reason"]) == ("rejected", "denied", "rejected by eve")
    assert ended["holds"][0]["outcome"] == "rejected"

    assert all(word in other.stdout for word in (also_rejected, "rejected", "eve"))
    text = await mesh.run("status", waiting)
    assert "since" in text.stdout
    assert f"mesh approve {waiting}" in text.stderr
    listed = (await mesh.run("list", "--state", "held", "--json")).answer("mesh-list")
    assert [job["job_id"] for job in listed["jobs"]] == [waiting]


async def test_text_for_people(mesh: SeededMesh) -> None:
    """Without `--json` a table."""
    job_id = await held(mesh)
    async with deciding(mesh):
        ran = await mesh.run("approve", job_id, "--by", "bob")
    assert ran.status == 0
    assert all(word in ran.stdout for word in (job_id, "accepted", "bob"))


async def test_refusals(mesh: SeededMesh) -> None:
    """Not known, refused at the door, not held, one's own: nothing is sent."""
    own = await held(mesh, submitted_by="ann")
    running, dead, unknown = str(uuid4()), str(uuid4()), str(uuid4())
    await mesh.accept(running, SUBMIT)
    await mesh.append(running, (20, routed()))
    await mesh.settle()
    async with played_router(mesh.settings) as router:
        await router.dead(dead, ("t.jobs", 0, 1), "invalid")

    for verb in ("approve", "reject"):
        assert_refused(await mesh.run(verb, unknown, "--by", "bob", "--json"), 4, "not_found", unknown)
        assert_refused(await mesh.run(verb, dead, "--by", "bob", "--json"), 4, "not_found", "was refused")
        assert_refused(await mesh.run(verb, running, "--by", "bob", "--json"), 4, "conflict", "it is accepted")
        assert_refused(await mesh.run(verb, own, "--by", "ann", "--json"), 4, "conflict", "--by names another")
        assert_refused(await mesh.run(verb, own, "--by", "", "--json"), 2, "usage", "by")
    assert (await mesh.run("status", own, "--json")).answer("mesh-status")["state"] == "held"


async def test_nobody_folds(mesh: SeededMesh) -> None:
    """A decision that has no effect within five seconds: the outcome is unknown, which is not the same as refused."""
    job_id = await held(mesh)
    ran = await mesh.run("approve", job_id, "--by", "bob", "--json")
    assert_refused(ran, 5, "timeout", "does a router run?")


async def test_somebody_was_quicker(mesh: SeededMesh) -> None:
    """The hold ends while the decision is on its way: it becomes a dead letter, and the verb says what the job is."""
    job_id = await held(mesh)
    await mesh.append(job_id, (2 * HOUR_MS, TimerFired(timer_id=f"{job_id}:hold:1")))

    async def is_decided() -> bool:
        records = await read_topic(mesh.settings, JOBS_HISTORY)
        return any(header_text(record.headers, "ce_type") == JobDecided.fact_type for record in records)

    begin = asyncio.Event()
    async with deciding(mesh, begin):
        running = asyncio.create_task(mesh.run("approve", job_id, "--by", "bob", "--json"))
        await wait_until(is_decided, description="the decision is in the history")
        begin.set()
        ran = await running
    assert_refused(ran, 4, "conflict", "it is rejected")
    letters = (await mesh.run("dlq", "ls", "--json", "--job", job_id)).answer("mesh-dlq")["records"]
    assert [letter["error_type"] for letter in letters] == ["conflict"]
    status = (await mesh.run("status", job_id, "--json")).answer("mesh-status")
    assert status["state"] == "rejected", "the letter of a decision says nothing of the job"
