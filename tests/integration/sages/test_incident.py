"""The sage incident on a real `jobs.done`: the rules always speak, the past adds to them once it is known."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from eldermesh.contract.ids import trace_id_of
from eldermesh.contract.partitions import partition_of
from services.router.policy.own_verdict import JobContent, judged
from services.sages.incident import IncidentSage
from services.sages.panel.panel import Panel
from services.sages.past_jobs.failure_table import FailureRate
from shared.kafka.clients import make_producer
from shared.kafka.topics import JOBS_DONE
from shared.logs.setup import configure_logging
from shared.settings import Settings
from tests.fresh_topics import fresh_topics
from tests.integration.sages.played_sages import panel_of, question
from tests.recorded_spans import recorded_spans
from tests.waiting import wait_until

SHELL: Any = {"allowed_tools": ["Bash"]}


@pytest.fixture
async def settings(embedded_broker: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Topics of this test."""
    async with fresh_topics(embedded_broker, "embedded", data_dir=tmp_path, sage_seconds=5.0) as settings:
        yield settings


@asynccontextmanager
async def incident_sage(settings: Settings) -> AsyncIterator[IncidentSage]:
    """The sage, started."""
    sage = IncidentSage()
    await sage.start(settings)
    try:
        await wait_until(lambda: sage.knows_past, description="incident knows the past")
        yield sage
    finally:
        await sage.close()


def an_end(job_id: str, status: str, tenant: str, workload: str, second: int) -> bytes:
    """What `jobs.done` says of a job that ended at this second of a minute."""
    now = datetime.now(UTC).replace(second=second).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps(
        {
            "job_id": job_id,
            "status": status,
            "tenant": tenant,
            "workload": workload,
            "labels": {},
            "engine": "celery",
            "items_total": 1,
            "items_succeeded": int(status == "completed"),
            "items_failed": int(status == "failed"),
            "items_not_run": 0,
            "progress_records_total": 1,
            "error_type": None,
            "reason": None,
            "accepted_at": now,
            "ended_at": now,
            "active_seconds": 1.0,
            "cost_usd": None,
            "trace_id": trace_id_of(job_id),
        }
    )


async def ended(settings: Settings, *statuses: str, tenant: str = "default", workload: str = "python") -> None:
    """Publish the ends of so many jobs."""
    producer: Any = make_producer(settings)
    await producer.start()
    try:
        for second, status in enumerate(statuses):
            job_id = str(uuid4())
            await producer.send_and_wait(
                settings.topic(JOBS_DONE),
                value=an_end(job_id, status, tenant, workload, second),
                key=job_id.encode(),
                partition=partition_of(job_id, settings.partition_count),
            )
    finally:
        await producer.stop()


async def known(sage: IncidentSage, samples: int, **fields: Any) -> dict[str, Any]:
    """The advice once the past has so many samples."""

    async def look() -> dict[str, Any] | None:
        advice: dict[str, Any] = await sage.advise(question(1, **fields))
        rate = advice["failure_rate"]
        return advice if (0 if rate is None else rate["samples"]) == samples else None

    return await wait_until(look, description=f"{samples} ends are known")


async def test_the_rules_speak_while_the_memory_does_not(settings: Settings) -> None:
    """Before it has begun to read, and while it reads: it never warms, the failure rate is null."""
    sage = IncidentSage()
    asked = question("run rm -rf / now", workload="claude", options=SHELL)
    before = await sage.advise(asked)
    assert not sage.is_warming
    await sage.start(settings)
    warming = await sage.advise(asked)
    await wait_until(lambda: sage.knows_past, description="incident knows the past")
    await sage.close()
    for advice in (before, warming):
        assert (advice["risk"], advice["failure_rate"]) == ("critical", None)


async def test_one_word_changes_the_advice(settings: Settings) -> None:
    """Two jobs that differ in their verb alone: to explain a command is no risk, to run it is one."""
    async with incident_sage(settings) as sage:
        asked = [f"{verb} the command rm -rf /home" for verb in ("Explain", "Run")]
        explain, run = [await sage.advise(question(text, workload="claude", options=SHELL)) for text in asked]
    assert (explain["risk"], run["risk"]) == ("medium", "critical")
    assert [reason["rule"] for reason in explain["reasons"]] == ["scope.any-shell"]  # type: ignore[index, union-attr, call-overload]


async def test_the_advice_changes_after_jobs_have_ended(settings: Settings) -> None:
    """Failures raise the risk to medium, never further; another tenant or workload has a past of its own."""
    async with incident_sage(settings) as sage:
        nothing = await known(sage, 0)
        assert (nothing["risk"], nothing["failure_rate"]) == ("low", None)
        await ended(settings, *["failed"] * 8, "completed", "cancelled", "rejected")
        advice = await known(sage, 9)
        assert advice["risk"] == "medium"
        assert [reason["rule"] for reason in advice["reasons"]] == ["history.failing-workload"]
        assert advice["failure_rate"] == {"rate": 0.8889, "low": 0.565, "high": 0.9801, "samples": 9}
        assert (await sage.advise(question(1, tenant="another")))["failure_rate"] is None
        assert (await sage.advise(question("hello", workload="claude")))["failure_rate"] is None
        await ended(settings, *["completed"] * 9)
        assert (await known(sage, 18))["risk"] == "low"


async def test_a_deleted_file_restores_the_same_answers(settings: Settings) -> None:
    """The file is a function of the topic, an unreadable record in it included."""
    producer: Any = make_producer(settings)
    await producer.start()
    await producer.send_and_wait(settings.topic(JOBS_DONE), value=b"{", key=b"x", partition=0)
    await producer.stop()
    await ended(settings, "failed", "completed", "completed")
    async with incident_sage(settings) as sage:
        before = await known(sage, 3)
    for file in (settings.data_dir / "sages").iterdir():
        file.unlink()
    async with incident_sage(settings) as sage:
        assert await known(sage, 3) == before


async def test_old_ends_are_forgotten(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound on the rows."""
    monkeypatch.setattr("services.sages.past_jobs.failure_table.KEPT_ENDS", 2)
    monkeypatch.setattr("services.sages.memory.table.PRUNE_EVERY", 1)
    async with incident_sage(settings) as sage:
        await ended(settings, *["failed"] * 5)
        await known(sage, 2)


def test_few_samples_say_little() -> None:
    """Wilson's interval: never outside of 0 and 1, narrower with more samples; figures of its tables."""
    assert FailureRate(0, 1).as_json() == {"rate": 0.0, "low": 0.0, "high": 0.7935, "samples": 1}
    assert FailureRate(1, 10).as_json() == {"rate": 0.1, "low": 0.0179, "high": 0.4042, "samples": 10}
    low, high = FailureRate(200, 200).interval
    assert 0.98 < low < high <= 1.0


@pytest.mark.usefixtures("logging_as_it_was")
async def test_a_secret_is_in_no_advice_span_or_log(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    """A job that holds secrets is judged, and what says so does not hold them; nor does a rule that breaks."""
    key = "AKIA" + "Q3ZX7LKM2WVT5RBN"
    password = "k9Vr42mQx7Lp"
    item = f"Deploy with {key}, and then log in: password = '{password}'"
    asked = question(item, {"prompt": item}, workload="claude", options={"system_prompt": f"Use {key}."})
    configure_logging(settings, "test")
    with recorded_spans() as exporter:
        async with panel_of({"incident": IncidentSage}, settings) as panel:
            answered = await _answered(panel, asked)
            by_router = await judged(JobContent(asked.workload, asked.items, asked.options))
        spans = exporter.get_finished_spans()
    assert answered["risk"] == "high"
    assert {reason["rule"] for reason in answered["reasons"]} == {"secret.aws-key", "secret.named-value"}
    written = "".join(capfd.readouterr())
    traced = "".join(span.to_json() for span in spans)
    assert "ask sage" in traced
    assert by_router.advice["reasons"] == answered["reasons"]
    for text in (orjson.dumps(answered).decode(), by_router.model_dump_json(), written, traced, repr(asked)):
        assert key not in text
        assert password not in text


async def _answered(panel: Panel, asked: Any) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        (entry,) = await panel.ask(asked)
        return dict(entry.advice) if entry.status == "ok" else None

    return await wait_until(look, description="incident has answered")


async def test_a_large_job_does_not_wait_for_long(settings: Settings) -> None:
    """256 KiB of ordinary prose."""
    prose = "The quick brown fox reads the runbook, and writes down what it found in the logs of that day. "
    async with incident_sage(settings) as sage:
        began = time.process_time()
        advice = await sage.advise(question((prose * 3000)[: 256 * 1024], workload="claude"))
    assert advice["risk"] == "low"
    assert time.process_time() - began < 5
