"""Advice on a whole mesh: what the panel says, or does not say in time, changes what happens to a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eldermesh.client import Client
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.times import parse_time
from shared.facts.jobs import AdviceEntry, JobAccepted
from tests.fresh_topics import AnyBroker
from tests.held_jobs import history_writer
from tests.mesh_services import mesh_services
from tests.played_panel import played_panel
from tests.waiting import wait_until

WAIT_SECONDS = 300.0
ADVISE_SECONDS = 8.0
QUICK: dict[str, Any] = {"p10": 0.1, "p50": 0.2, "p90": 0.4}
TASK = AdviceEntry(sage="task", status="ok", advice={"samples": 12, "duration_seconds": QUICK})


def _says(fact: JobAccepted) -> tuple[AdviceEntry, ...] | None:
    """By the job's label: a risk, or nothing at all."""
    risk = fact.terms.labels["say"]
    if risk == "nothing":
        return None
    reasons: list[Any] = [{"rule": "test.rule", "severity": risk, "message": "the test says so", "item_index": None}]
    return TASK, AdviceEntry(sage="incident", status="ok", advice={"risk": risk, "reasons": reasons})


def _job(say: str, **fields: Any) -> JobSubmit:
    options = {"function": "math:sqrt"}
    values = {"workload": "python", "options": options, "items": [4, 9], "labels": {"say": say}, "submitted_by": "ann"}
    return JobSubmit.model_validate(values | fields)


async def test_advice_changes_what_happens(any_broker: AnyBroker, tmp_path: Path) -> None:
    """Low runs, critical is rejected, high waits for a person, silence costs a job its wait and no more."""
    bootstrap, profile = any_broker
    async with (
        mesh_services(bootstrap, profile, tmp_path, advise_seconds=ADVISE_SECONDS) as mesh,
        history_writer(mesh.settings) as writer,
        Client(bootstrap, mesh.settings.topic_prefix) as client,
        played_panel(mesh.settings, _says),
    ):
        submitted = {say: await client.submit(_job(say)) for say in ("low", "critical", "high", "nothing")}
        ids = {say: each.job_id for say, each in submitted.items()}
        unasked = (await client.submit(_job("nothing", advice="none"))).job_id

        low = await client.wait(ids["low"], WAIT_SECONDS)
        assert (low.status, low.items_succeeded) == ("completed", 2)
        critical = await client.wait(ids["critical"], WAIT_SECONDS)
        assert (critical.status, critical.error_type, critical.items_not_run) == ("rejected", "rejected", 2)
        assert critical.reason == "risk critical: test.rule: the test says so"

        async def status(job_id: str) -> Any:
            return (await writer.run("status", job_id, "--json")).answer("mesh-status")

        async def is_held() -> Any:
            answer = await status(ids["high"])
            return answer if answer["state"] == "held" else None

        held = await wait_until(is_held, description="the job is held")
        assert held["reason"] == "risk high: test.rule: the test says so"
        text = (await writer.run("status", ids["high"])).stdout
        assert "0.2 s (0.1 to 0.4), from 12 jobs" in text
        assert "high: test.rule: the test says so" in text
        approved = await writer.run("approve", ids["high"], "--by", "bob", "--json")
        assert approved.status == 0, approved.stderr
        high = await client.wait(ids["high"], WAIT_SECONDS)
        assert (high.status, high.items_succeeded) == ("completed", 2)
        assert [entry["sage"] for entry in (await status(ids["high"]))["advice"]] == ["task", "incident"]

        late = await client.wait(ids["nothing"], WAIT_SECONDS)
        assert (late.status, late.items_succeeded) == ("completed", 2)
        assert parse_time(late.ended_at) - parse_time(late.accepted_at) >= ADVISE_SECONDS * 1000
        advice = {entry["sage"]: entry for entry in (await status(ids["nothing"]))["advice"]}
        assert advice["panel"]["status"] == "late"
        assert (advice["incident"]["status"], advice["incident"]["advice"]["by"]) == ("ok", "router")
        why = await writer.run("why", ids["nothing"], "--json")
        segments = {each["name"]: each["seconds"] for each in why.answer("mesh-why")["segments"]}
        assert segments["decision"] >= ADVISE_SECONDS

        assert (await client.wait(unasked, WAIT_SECONDS)).status == "completed"
        assert (await status(unasked))["advice"] == []
