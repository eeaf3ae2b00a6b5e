"""Holds on a whole mesh: approved, denied, decided by the submitter, through a router that is killed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from eldermesh.client import Client
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.holds import JobHold
from eldermesh.contract.times import parse_time
from eldermesh.contract.topics import JOBS_DEAD, JOBS_HOLDS
from eldermesh_cli.stack.telemetry.receiver import otlp_receiver
from shared.settings import Settings
from tests.fresh_topics import AnyBroker
from tests.held_jobs import history_writer, hold
from tests.integration.seeded_mesh import SeededMesh
from tests.job_traces import whole_trace
from tests.mesh_services import MeshServices, mesh_services
from tests.public_topics import assert_invariants
from tests.trace_edges import EDGES
from tests.waiting import wait_until
from tests.whole_topic import read_topic

WAIT_SECONDS = 300.0
SUBMIT: dict[str, Any] = {
    "workload": "python",
    "options": {"function": "math:sqrt"},
    "items": [4, 9],
    "submitted_by": "ann",
    "labels": {"team": "core"},
}


async def told(settings: Settings, job_id: str) -> dict[str, JobHold]:
    """What `jobs.holds` says of a job, by the last part of the event's id; repeats are the same."""
    found: dict[str, JobHold] = {}
    for record in await read_topic(settings, JOBS_HOLDS):
        if record.key == job_id.encode():
            event_id = dict(record.headers)["ce_id"].decode()
            found[event_id.removeprefix(f"{job_id}:hold:")] = JobHold.model_validate_json(record.value)
    return found


async def until_held(mesh: SeededMesh, job_id: str) -> None:
    """The router knows that the job is held."""

    async def is_held() -> bool:
        listed = await mesh.run("list", "--state", "held", "--json")
        return listed.status == 0 and job_id in listed.stdout

    await wait_until(is_held, description="the job is held")


async def kill_router(mesh: MeshServices) -> None:
    """SIGKILL, and another one."""
    assert mesh.router.pid is not None
    os.kill(mesh.router.pid, signal.SIGKILL)
    await mesh.router.wait()
    await mesh.router.bring_up()


async def test_a_person_decides_or_nobody_does(any_broker: AnyBroker, tmp_path: Path) -> None:
    """Approved by another person it runs, by nobody it is denied, by the submitter it is a dead letter and waits on."""
    bootstrap, profile = any_broker
    async with (
        mesh_services(bootstrap, profile, tmp_path, start=False) as mesh,
        history_writer(mesh.settings) as writer,
        Client(bootstrap, mesh.settings.topic_prefix) as client,
    ):
        approved, denied = [await hold(writer, SUBMIT, seconds=seconds, remind_seconds=1) for seconds in (600, 3)]
        await mesh.router.bring_up()
        await mesh.worker.bring_up()

        timed_out = await client.wait(denied, WAIT_SECONDS)
        assert (timed_out.status, timed_out.error_type) == ("rejected", "denied")
        assert "in time" in (timed_out.reason or "")
        events = await told(mesh.settings, denied)
        assert {"1", "1:ended"} <= set(events), "the reminder too, unless both were due at once"
        assert (events["1:ended"].outcome, events["1:ended"].by) == ("timed_out", None)

        own = await client.approve(approved, "ann", "mine")

        async def letters() -> list[Any]:
            return await read_topic(mesh.settings, JOBS_DEAD)

        (letter,) = await wait_until(letters, description="the submitter's decision is a dead letter")
        headers = DeadLetterHeaders.decode(letter.headers)
        assert (headers.topic, headers.partition, headers.offset) == (own.topic, own.partition, own.offset)
        assert headers.error_type == "invalid"
        assert "cannot decide" in headers.reason
        assert json.loads(letter.value)["by"] == "ann"
        status = (await writer.run("status", approved, "--json")).answer("mesh-status")
        assert (status["state"], status["waiting_for"]) == ("held", "decision")

        answer = (await writer.run("approve", approved, "--by", "bob", "--json")).answer("mesh-approve")
        assert answer["state"] in {"accepted", "running", "completed"}
        end = await client.wait(approved, WAIT_SECONDS)
        assert (end.status, end.items_succeeded) == ("completed", 2)
        events = await told(mesh.settings, approved)
        assert set(events) == {"1", "1:reminder", "1:ended"}
        assert (events["1"].labels, events["1"].submitted_by, events["1"].reason) == (
            {"team": "core"},
            "ann",
            "may write files",
        )
        assert (events["1:ended"].outcome, events["1:ended"].by) == ("approved", "bob")
        held_ms = parse_time(events["1:ended"].recorded_at) - parse_time(events["1"].held_at)
        whole_ms = parse_time(end.ended_at) - parse_time(end.accepted_at)
        assert held_ms > 1000
        assert abs(end.active_seconds * 1000 - (whole_ms - held_ms)) <= 1
        await assert_invariants(bootstrap, mesh.settings.topic_prefix, expect_jobs={approved, denied})


async def test_kill_9_of_the_router_during_a_hold(embedded_broker: str, tmp_path: Path) -> None:
    """Killed, and again with an emptied Redis: the job waits on, its clock stands, and the trace has the hold."""
    async with (
        otlp_receiver(tmp_path / "spans.sqlite") as otlp,
        mesh_services(
            embedded_broker, "embedded", tmp_path, start=False, otlp_endpoint=otlp, trace_query_url=otlp
        ) as mesh,
        history_writer(mesh.settings) as writer,
        Client(embedded_broker, mesh.settings.topic_prefix) as client,
    ):
        job_id = await hold(writer, SUBMIT, seconds=600, remind_seconds=1)
        await mesh.router.bring_up()
        await mesh.worker.bring_up()
        await until_held(writer, job_id)
        await kill_router(mesh)
        await writer.redis.flushall()
        await kill_router(mesh)
        await until_held(writer, job_id)

        async def reminded() -> bool:
            return "1:reminder" in await told(mesh.settings, job_id)

        await wait_until(reminded, description="people are reminded")
        assert (await writer.run("approve", job_id, "--by", "bob", "--json")).status == 0
        end = await client.wait(job_id, WAIT_SECONDS)
        assert (end.status, end.items_succeeded) == ("completed", 2)
        events = await told(mesh.settings, job_id)
        held_ms = parse_time(events["1:ended"].recorded_at) - parse_time(events["1"].held_at)
        whole_ms = parse_time(end.ended_at) - parse_time(end.accepted_at)
        assert abs(end.active_seconds * 1000 - (whole_ms - held_ms)) <= 1
        await assert_invariants(embedded_broker, mesh.settings.topic_prefix, expect_jobs={job_id})

        # The test wrote the acceptance, so nobody exported its span: what lies below it is waited for by name.
        edges = [edge for edge in EDGES if not {"process jobs", "accept job"} & set(edge)]
        trace_id = end.trace_id or ""
        spans = await whole_trace(
            mesh.settings, trace_id, edges, items_total=2, below_unknown=("hold", "dispatch chunk", "end job")
        )
        (waited,) = [span for span in spans if span.name == "hold"]
        assert abs(waited.duration_seconds * 1000 - held_ms) <= 1
        assert waited.attributes["eldermesh.decision.by"] == "bob"
        why = (await writer.run("why", job_id, "--json")).answer("mesh-why")
        assert abs(next(each["seconds"] for each in why["segments"] if each["name"] == "hold") - held_ms / 1000) <= 0.01
