"""Sages, a hold and a notice around a real prompt: one trace, no secret told on, nothing lost when all are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eldermesh.client import Client
from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.holds import JobHold
from eldermesh.contract.times import parse_time
from eldermesh.contract.topics import JOBS, JOBS_HOLDS
from eldermesh_cli.stack.service import Service
from shared.facts.jobs import JobAccepted, JobPaused
from shared.kafka.topics import JOBS_HISTORY, MESH_META, TOPICS
from tests.fresh_topics import Profile
from tests.held_jobs import history_writer
from tests.jaeger_server import JaegerServer
from tests.job_traces import received_spans, whole_trace
from tests.mesh_services import MeshServices, mesh_services
from tests.public_topics import assert_invariants
from tests.trace_edges import (
    ADVICE_EDGES,
    CLAUDE_EDGES,
    CLI_EDGES,
    EDGES,
    HOLD_NOTIFICATION_EDGES,
    NOTIFICATION_EDGES,
    WAIT_EDGES,
    assert_edges,
)
from tests.waiting import wait_until
from tests.whole_topic import read_topic

WAIT_SECONDS = 300.0
PAUSE_SECONDS = 55
"""Longer than four services take to start again on a busy machine; of a minute or more the CLI tells nothing."""
RISKY = "[[reply dropped]] Tidy up the database: drop the table customers_old in production."
RULES = """channels:
  terminal: {type: console}
rules:
  - {name: ends, on: [end], channels: [terminal]}
  - {name: holds, on: [hold], channels: [terminal]}
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class PeopleMesh:
    """A mesh with sages and a notifier that has a console."""

    mesh: MeshServices
    sages: Service
    notifier: Service
    client: Client

    def notices(self, job_id: str) -> list[str]:
        """The lines that people were shown of a job."""
        log = self.mesh.log_dir / "notifier.log"
        lines = log.read_text("utf-8").splitlines() if log.exists() else []
        return [line for line in lines if line.startswith("NOTICE") and job_id in line]

    async def submit_risky(self) -> str:
        """A job that incident's rules call high, because its tools could do what it asks."""
        submitted = await self.client.submit(
            JobSubmit.model_validate(
                {
                    "workload": "claude",
                    "items": [RISKY],
                    "options": {"allowed_tools": ["Bash"]},
                    "submitted_by": "ann",
                }
            )
        )
        return submitted.job_id

    async def until_held(self, job_id: str) -> JobHold:
        """The hold as the public sees it."""

        async def look() -> list[JobHold]:
            records = await read_topic(self.mesh.settings, JOBS_HOLDS)
            return [JobHold.model_validate_json(each.value) for each in records if each.key == job_id.encode()]

        return (await wait_until(look, description="the job is held"))[0]

    async def kill_each_service(self) -> None:
        """SIGKILL and a new start, one after the other."""
        for service in (self.mesh.router, self.mesh.worker, self.sages, self.notifier):
            assert service.pid is not None
            os.kill(service.pid, signal.SIGKILL)
            await service.wait()
            await service.bring_up()


@asynccontextmanager
async def people_mesh(
    bootstrap: str, profile: Profile, url: str, directory: Path, **settings: Any
) -> AsyncIterator[PeopleMesh]:
    """Router, worker, sages and notifier, all ready."""
    rules = directory / "notify.yaml"
    rules.write_text(RULES, "utf-8")
    own: dict[str, Any] = {"anthropic_base_url": url, "advise_seconds": 10.0, "notify_rules": rules}
    async with mesh_services(bootstrap, profile, directory, **(own | settings)) as mesh:
        sages, notifier = mesh.people()
        try:
            await sages.bring_up()
            await notifier.bring_up()
            async with Client(bootstrap, mesh.settings.topic_prefix) as client:
                yield PeopleMesh(mesh, sages, notifier, client)
        finally:
            await notifier.shut_down()
            await sages.shut_down()


async def test_the_whole_trace_in_jaeger(
    embedded_broker: str, loopback_url: str, jaeger: JaegerServer, tmp_path: Path
) -> None:
    """The panel, each sage, the hold, the prompt's model call and both notices are spans of the job's one trace."""
    telemetry = {"otlp_endpoint": jaeger.otlp_url, "trace_query_url": jaeger.query_url}
    async with people_mesh(embedded_broker, "embedded", loopback_url, tmp_path, **telemetry) as people:
        job_id = await people.submit_risky()
        hold = await people.until_held(job_id)
        assert hold.reason.startswith("risk high")
        await people.client.approve(job_id, "bob", "the backup is fresh")
        end = await people.client.wait(job_id, WAIT_SECONDS)
        assert (end.status, end.items_succeeded) == ("completed", 1)
        await wait_until(lambda: len(people.notices(job_id)) >= 2, description="people were told twice")
        edges = [*EDGES, *ADVICE_EDGES, WAIT_EDGES[0], *CLAUDE_EDGES, *CLI_EDGES]
        edges += [*NOTIFICATION_EDGES, *HOLD_NOTIFICATION_EDGES]
        assert end.trace_id is not None
        await whole_trace(people.mesh.settings, end.trace_id, edges, items_total=1)
        spans = await received_spans(people.mesh.settings, end.trace_id)
        assert_edges(spans, edges)
        asked = {span.attributes["eldermesh.sage"] for span in spans if span.name == "ask sage"}
        assert asked == {"incident", "knowledge", "rag", "task"}
        assert len(people.notices(job_id)) == 2


async def test_a_secret_is_told_to_nobody(
    embedded_broker: str, loopback_url: str, jaeger: JaegerServer, tmp_path: Path
) -> None:
    """A prompt with a key: it stands where its submitter put it, and in no other event, no span and no log."""
    secret = "AKIA" + "Q7RZ4KXW2MNB5TJD"
    prompt = f"[[reply done]] Upload the report with the access key {secret}, please."
    telemetry = {"otlp_endpoint": jaeger.otlp_url, "trace_query_url": jaeger.query_url, "log_level": "debug"}
    async with people_mesh(embedded_broker, "embedded", loopback_url, tmp_path, **telemetry) as people:
        job = {"workload": "claude", "items": [prompt], "options": {"allowed_tools": ["Bash"]}, "submitted_by": "ann"}
        submitted = await people.client.submit(JobSubmit.model_validate(job))
        hold = await people.until_held(submitted.job_id)
        assert "secret" in hold.reason
        await people.client.approve(submitted.job_id, "bob", "rotated tomorrow")
        end = await people.client.wait(submitted.job_id, WAIT_SECONDS)
        assert end.status == "completed"
        assert end.trace_id is not None
        await wait_until(lambda: len(people.notices(end.job_id)) >= 2, description="people were told twice")
        edges = [*EDGES, *ADVICE_EDGES, *NOTIFICATION_EDGES]
        spans = await whole_trace(people.mesh.settings, end.trace_id, edges, items_total=1)
        assert not [span.name for span in spans if secret in repr(span)]
        settings = people.mesh.settings
        holding: set[tuple[str, str | None]] = set()
        for spec in (each for each in TOPICS if each.name != MESH_META):  # which holds an id of the log alone
            for record in await read_topic(settings, spec.name):
                if secret.encode() in (record.value or b"") or secret in repr(record.headers):
                    holding.add((spec.name, header_text(record.headers, "ce_type")))
        assert {topic for topic, _ in holding} == {JOBS, JOBS_HISTORY}
        assert {kind for topic, kind in holding if topic != JOBS} == {JobAccepted.fact_type}
        assert not [log.name for log in people.mesh.log_dir.iterdir() if secret in log.read_text("utf-8")]


@pytest.mark.kafka
async def test_every_service_is_killed_during_a_hold(apache_kafka: str, loopback_url: str, tmp_path: Path) -> None:
    """SIGKILL of all four, on Apache Kafka: the hold is as it was, the clock stood, people are told each thing once."""
    async with people_mesh(apache_kafka, "kafka", loopback_url, tmp_path) as people:
        job_id = await people.submit_risky()
        hold = await people.until_held(job_id)
        await wait_until(lambda: people.notices(job_id), description="people were told of the hold")
        await people.kill_each_service()
        assert (await people.until_held(job_id)) == hold
        await people.client.approve(job_id, "bob", "go on")
        end = await people.client.wait(job_id, WAIT_SECONDS)
        assert (end.status, end.items_succeeded) == ("completed", 1)
        held = (parse_time(end.ended_at) - parse_time(hold.held_at)) / 1000
        whole = (parse_time(end.ended_at) - parse_time(end.accepted_at)) / 1000
        assert 0 < end.active_seconds < whole
        assert end.active_seconds <= whole - 0.5 * held
        await wait_until(lambda: len(people.notices(job_id)) >= 2, description="people were told of the end")
        assert len(people.notices(job_id)) == 2
        await assert_invariants(apache_kafka, people.mesh.settings.topic_prefix, expect_jobs=1)


@pytest.mark.kafka
async def test_every_service_is_killed_during_a_pause(apache_kafka: str, loopback_url: str, tmp_path: Path) -> None:
    """SIGKILL of all four: the job goes on by itself, not before its time, as if it had never begun."""
    limited = f"[[status 429 retry-after={PAUSE_SECONDS} times=1]] [[reply at last]]"
    async with (
        people_mesh(apache_kafka, "kafka", loopback_url, tmp_path, claude_wait_seconds=2.0) as people,
        history_writer(people.mesh.settings) as history,
    ):
        job_id = (await people.client.submit(workload="claude", items=[limited])).job_id

        async def paused() -> list[JobPaused]:
            records = await read_topic(people.mesh.settings, JOBS_HISTORY)
            return [
                JobPaused.model_validate_json(each.value)
                for each in records
                if each.key == job_id.encode() and header_text(each.headers, "ce_type") == JobPaused.fact_type
            ]

        (pause,) = await wait_until(paused, description="the job is paused", timeout_seconds=WAIT_SECONDS)
        assert pause.until is not None
        await people.kill_each_service()
        status = (await history.run("status", job_id, "--json")).answer("mesh-status")
        assert (status["state"], status["waiting_for"]) == ("paused", "quota"), "killed and started within the pause"
        end = await people.client.wait(job_id, WAIT_SECONDS)
        assert (end.status, end.items_succeeded) == ("completed", 1)
        (result,) = [each async for each in people.client.results(job_id)]
        assert (result.output, result.attempt) == ("at last", 1)
        assert parse_time(end.ended_at) >= pause.until
        whole = (parse_time(end.ended_at) - parse_time(end.accepted_at)) / 1000
        why = (await history.run("why", job_id, "--json")).answer("mesh-why")
        waited = next(each["seconds"] for each in why["segments"] if each["name"] == "pause")
        assert abs(end.active_seconds - (whole - waited)) < 0.1
        assert await paused() == [pause]
        await wait_until(lambda: people.notices(job_id), description="people were told of the end")
        assert len(people.notices(job_id)) == 1
        await assert_invariants(apache_kafka, people.mesh.settings.topic_prefix, expect_jobs=1)
