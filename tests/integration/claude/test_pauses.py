"""A limit of the API pauses a job: no retry is spent, the slot is free, and the job goes on by itself."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from eldermesh.client import Client
from eldermesh.contract.times import parse_time
from eldermesh_cli.stack.telemetry.receiver import otlp_receiver
from shared.facts.jobs import JobReplanned
from shared.kafka.topics import JOBS_HISTORY
from tests.held_jobs import history_writer
from tests.integration.claude.playing import Claude
from tests.integration.item_pids import begun, let_go
from tests.integration.played_owner import FUNCTIONS
from tests.job_traces import whole_trace
from tests.mesh_services import mesh_services
from tests.public_topics import assert_invariants
from tests.waiting import wait_until
from tests.whole_topic import read_topic

WAIT_SECONDS = 300.0
PAUSE_SECONDS = 15
LIMITED = f"[[status 429 retry-after={PAUSE_SECONDS} times=1]] [[reply at last]]"

pytestmark = pytest.mark.slow


async def test_a_limit_pauses_its_job_and_nothing_else(embedded_broker: str, loopback_url: str, tmp_path: Path) -> None:
    """The one slot runs another job meanwhile, the router is killed, and the item's next run is its first attempt."""
    async with (
        otlp_receiver(tmp_path / "spans.sqlite") as otlp,
        mesh_services(
            embedded_broker,
            "embedded",
            tmp_path,
            anthropic_base_url=loopback_url,
            slots=1,
            claude_wait_seconds=2.0,
            otlp_endpoint=otlp,
            trace_query_url=otlp,
        ) as mesh,
        history_writer(mesh.settings) as writer,
        Client(embedded_broker, mesh.settings.topic_prefix) as client,
    ):
        limited = (await client.submit(workload="claude", items=[LIMITED], active_timeout_seconds=150)).job_id

        async def is_paused() -> bool:
            listed = (await writer.run("list", "--state", "paused", "--json")).answer("mesh-list")
            return [job["job_id"] for job in listed["jobs"]] == [limited]

        await wait_until(is_paused, description="the job is paused", timeout_seconds=WAIT_SECONDS)
        paused = (await writer.run("status", limited, "--json")).answer("mesh-status")
        assert (paused["waiting_for"], paused["items_running"]) == ("quota", 0)
        assert "rate_limited" in paused["reason"]
        assert mesh.router.pid is not None
        os.kill(mesh.router.pid, signal.SIGKILL)
        other = (await client.submit(workload="python", items=[4], options={"function": "math:sqrt"})).job_id
        await mesh.router.wait()
        await mesh.router.bring_up()
        assert (await client.wait(other, WAIT_SECONDS)).status == "completed"

        end = await client.wait(limited, WAIT_SECONDS)
        assert (end.status, end.items_succeeded) == ("completed", 1)
        (result,) = [each async for each in client.results(limited)]
        assert (result.output, result.attempt) == ("at last", 1)
        why = (await writer.run("why", limited, "--json")).answer("mesh-why")
        waited = next(each["seconds"] for each in why["segments"] if each["name"] == "pause")
        assert PAUSE_SECONDS - 2 < waited < PAUSE_SECONDS + 40
        whole = (parse_time(end.ended_at) - parse_time(end.accepted_at)) / 1000
        assert abs(end.active_seconds - (whole - waited)) < 0.1
        kinds = [dict(record.headers)["ce_type"].decode() for record in await read_topic(mesh.settings, JOBS_HISTORY)]
        assert kinds.count("job.paused") == 1
        assert JobReplanned.fact_type not in kinds, "nobody died"
        await assert_invariants(embedded_broker, mesh.settings.topic_prefix, expect_jobs={limited, other})

        edges = [("accept job", "pause"), ("accept job", "end job")]
        spans = await whole_trace(mesh.settings, end.trace_id or "", edges, items_total=2)
        (span,) = [span for span in spans if span.name == "pause"]
        assert abs(span.duration_seconds - waited) < 0.1


async def test_a_cli_does_not_wait_longer_than_it_may(claude: Claude) -> None:
    """It is ended as soon as the API says how long, and the outcome knows when to ask again."""
    execution = claude.execution("[[status 429 retry-after=50]]")
    execution._longest_wait_seconds = 5.0  # noqa: SLF001 - jobs set it, prompts on their own do not
    outcome = await execution.run()
    assert (outcome.outcome, outcome.api_status) == ("rate_limited", 429)
    assert outcome.retry_after_seconds is not None
    assert 42 < outcome.retry_after_seconds < 70
    assert outcome.duration_seconds < 42


async def test_drained_worker(embedded_broker: str, tmp_path: Path) -> None:
    """SIGTERM of a worker with a long chunk: what has ended counts, the rest is run elsewhere as the first attempt."""
    quick: dict[str, Any] = {"drain_seconds": 0.5, "chunk_items": 3, "python_functions": f"{FUNCTIONS}:*", "slots": 1}
    async with (
        mesh_services(embedded_broker, "embedded", tmp_path, **quick) as mesh,
        Client(embedded_broker, mesh.settings.topic_prefix) as client,
    ):
        first, second, third = items = [tmp_path / name for name in ("first", "second", "third")]
        options = {"function": f"{FUNCTIONS}:until_let_go"}
        job_id = (await client.submit(workload="python", items=list(map(str, items)), options=options)).job_id
        await let_go(first)
        async for progress in client.progress(job_id, timeout_seconds=WAIT_SECONDS):
            assert progress.sequence == 1
            break
        await begun(second)
        await mesh.worker.shut_down()
        await let_go(second)
        await mesh.worker.bring_up()
        await let_go(third)
        end = await client.wait(job_id, WAIT_SECONDS)
        assert (end.status, end.items_succeeded) == ("completed", 3)
        results = [(result.item_index, result.attempt) async for result in client.results(job_id)]
        assert results == [(0, 1), (1, 1), (2, 1)]
        kinds = [dict(record.headers)["ce_type"].decode() for record in await read_topic(mesh.settings, JOBS_HISTORY)]
        assert kinds.count("chunk.interrupted") == 1
        assert JobReplanned.fact_type not in kinds
        await assert_invariants(embedded_broker, mesh.settings.topic_prefix, expect_jobs={job_id})
