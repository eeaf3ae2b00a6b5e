"""What `status` and `why` say of advice: for people the gist, with `--json` all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from shared.facts.fact import TimerFired
from shared.facts.jobs import AdviceEntry, JobAdvised, JobHeld, JobRefused
from tests.fresh_topics import AnyBroker
from tests.integration.seeded_mesh import SeededMesh, seeded_mesh
from tests.unit.cli.job_facts import accepted, routed

SUBMIT: dict[str, Any] = {"workload": "python", "options": {"function": "math:sqrt"}, "items": [1, 4]}
LATER_MS = 7_200_000
QUANTILES: Any = {"p10": 1.5, "p50": 2.0, "p90": 4.0}


def ok(sage: str, **advice: Any) -> AdviceEntry:
    """An entry of a sage that has answered."""
    return AdviceEntry(sage=sage, status="ok", advice=advice)


TASK = ok("task", samples=14, duration_seconds=QUANTILES, cost_usd=None, queue_seconds=QUANTILES)
RAG = ok("rag", passages=[{"text": "A chunk is a range.", "citation": "docs/words.md, Chunks"}])
KNOWLEDGE = ok("knowledge", lessons=[{"text": "Large chunks are quicker.", "source": "note 7", "confidence": 0.9}])
REASON: dict[str, Any] = {"rule": "tools.all", "severity": "high", "message": "may do all", "item_index": None}
INCIDENT = ok("incident", risk="high", reasons=[REASON], mitigations=[], rules_version="1")


@pytest.fixture
async def mesh(embedded_broker: str, redis_server: str, tmp_path: Path) -> AsyncIterator[SeededMesh]:
    """Topics and Redis keys of this test alone, on the embedded broker."""
    async with seeded_mesh(AnyBroker(embedded_broker, "embedded"), redis_server, data_dir=tmp_path) as seeded:
        yield seeded


async def asked(mesh: SeededMesh) -> str:
    """A job that was accepted, and whose advice is waited for, for two seconds."""
    job_id = str(uuid4())
    inbox = await mesh.submit(job_id, SUBMIT)
    fact = accepted(job_id, SUBMIT, submitted_at=mesh.began_ms)
    terms = fact.terms.model_copy(update={"advise_within_ms": 2000})
    await mesh.append(job_id, (10, fact.model_copy(update={"inbox": inbox, "terms": terms})))
    return job_id


async def test_status_and_why_have_the_advice(mesh: SeededMesh) -> None:
    """Waited for, held by risk, refused, late: each says what was said, by whom, and what came of it."""
    waiting, held, refused, late = [await asked(mesh) for _ in range(4)]
    advised = JobAdvised(entries=(TASK, RAG, KNOWLEDGE, INCIDENT))
    until = mesh.began_ms + LATER_MS
    await mesh.append(held, (100, advised), (110, JobHeld(n=0, reason="risk high: tools.all", until=until)))
    own = ok("incident", risk="critical", reasons=[REASON | {"severity": "critical"}], by="router")
    only_task = JobAdvised(entries=(TASK, AdviceEntry(sage="incident", status="failed")))
    await mesh.append(refused, (100, only_task), (110, JobRefused(n=0, reason="risk critical: x", advice=(own,))))
    panel = AdviceEntry(sage="panel", status="late")
    timer = TimerFired(timer_id=f"{late}:advise:1")
    await mesh.append(late, (2010, timer), (2020, advised), (2030, routed().model_copy(update={"advice": (panel,)})))
    # The seeded owner's own clock is an hour ahead: it would end the wait of the first job.
    await mesh.append(waiting, (20, JobHeld(n=0, reason="by hand", until=until)))
    await mesh.settle()

    status = (await mesh.run("status", held, "--json")).answer("mesh-status")
    assert status["advice"] == [entry.model_dump(mode="json") for entry in advised.entries]
    text = (await mesh.run("status", held)).stdout
    for words in (
        "2 s (1.5 to 4), queued before 2 s (1.5 to 4), from 14 jobs",
        "high: tools.all: may do all",
        "docs/words.md, Chunks",
        "Large chunks are quicker.",
    ):
        assert words in " ".join(text.split()), words
    why = await mesh.run("why", held)
    assert "high: tools.all: may do all" in why.stdout

    status = (await mesh.run("status", refused, "--json")).answer("mesh-status")
    assert (status["state"], status["error_type"], status["reason"]) == ("rejected", "rejected", "risk critical: x")
    assert [entry["status"] for entry in status["advice"]] == ["ok", "failed", "ok"]
    assert "critical by the router's own rules" in " ".join((await mesh.run("status", refused)).stdout.split())

    status = (await mesh.run("status", late, "--json")).answer("mesh-status")
    assert [(entry["sage"], entry["status"]) for entry in status["advice"]] == [("panel", "late")]
    assert "panel (late)" in (await mesh.run("status", late)).stdout
    segments = (await mesh.run("why", late, "--json")).answer("mesh-why")["segments"]
    assert {"name": "decision", "seconds": 2.02} in segments
