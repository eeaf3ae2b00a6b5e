"""`claude` jobs through a whole mesh: router, Celery worker, the real CLI, the loopback endpoint."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from eldermesh.client import Client
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.results import ItemResult
from eldermesh_cli.stack.telemetry.receiver import otlp_receiver
from services.claude_exec.cli.run_directory import runs_path
from tests.integration.claude.playing import own_seconds, process_named, processes_named
from tests.integration.item_pids import all_gone
from tests.jaeger_server import JaegerServer
from tests.job_traces import assert_traced, whole_trace
from tests.mesh_services import MeshServices, mesh_services
from tests.trace_edges import CLAUDE_EDGES, CLI_EDGES, EDGES
from tests.waiting import wait_until

WAIT_SECONDS = 300.0

pytestmark = pytest.mark.slow


def _job(*prompts: Any, **fields: Any) -> JobSubmit:
    # No sages run here: with advice, a job whose tools can write would be held for a person.
    job = {"workload": "claude", "items": list(prompts), "advice": "none"}
    return JobSubmit.model_validate(job | fields)


@asynccontextmanager
async def _mesh(
    bootstrap: str, url: str, directory: Path, **settings: Any
) -> AsyncIterator[tuple[MeshServices, Client]]:
    async with (
        mesh_services(bootstrap, "embedded", directory, anthropic_base_url=url, **settings) as mesh,
        Client(bootstrap, mesh.settings.topic_prefix) as client,
    ):
        yield mesh, client


async def _results(client: Client, job_id: str) -> list[ItemResult]:
    return [result async for result in client.results(job_id)]


async def _assert_traced(mesh: MeshServices, client: Client) -> None:
    """Three prompts, one of which uses a tool: all of it is one trace, to the model call and the tool in the CLI."""
    tool = '[[tool Bash {"command": "echo hi"}]] [[reply done]]'
    job = _job("[[reply one]]", {"prompt": "[[reply two]]"}, tool, options={"allowed_tools": ["Bash"]})
    submitted = await client.submit(job)
    end = await client.wait(submitted.job_id, WAIT_SECONDS)
    assert (end.status, end.items_succeeded) == ("completed", 3)
    assert (end.cost_usd or 0) > 0
    results = await _results(client, submitted.job_id)
    assert [result.output for result in results] == ["one", "two", "done"]
    assert all((result.cost_usd or 0) > 0 for result in results)
    edges = [*EDGES, *CLAUDE_EDGES, *CLI_EDGES, ("claude_code.interaction", "claude_code.tool")]
    assert end.trace_id is not None
    await whole_trace(mesh.settings, end.trace_id, edges, items_total=3)
    spans = await assert_traced(mesh.settings, end.job_id, end.trace_id, edges)
    named = [span.name for span in spans]
    assert named.count("process chunk") == 3, "dear items go one by one"
    assert named.count("claude_code.interaction") == named.count("start cli") == 3
    assert named.count("claude_code.llm_request") >= 4


async def test_one_trace_to_the_model_call(embedded_broker: str, loopback_url: str, tmp_path: Path) -> None:
    """In the receiver that `mesh up` runs."""
    async with otlp_receiver(tmp_path / "spans.sqlite") as otlp:
        telemetry = {"otlp_endpoint": otlp, "trace_query_url": otlp}
        async with _mesh(embedded_broker, loopback_url, tmp_path, **telemetry) as (mesh, client):
            await _assert_traced(mesh, client)


async def test_one_trace_to_the_model_call_in_jaeger(
    embedded_broker: str, loopback_url: str, jaeger: JaegerServer, tmp_path: Path
) -> None:
    """In a real Jaeger."""
    telemetry = {"otlp_endpoint": jaeger.otlp_url, "trace_query_url": jaeger.query_url}
    async with _mesh(embedded_broker, loopback_url, tmp_path, **telemetry) as (mesh, client):
        await _assert_traced(mesh, client)


async def test_failures_keep_their_words(embedded_broker: str, loopback_url: str, tmp_path: Path) -> None:
    """Each item's failure has the contract's word, and does not concern its neighbours."""
    prompts = ["[[status 401]]", "[[reply fine]]", "[[stop refusal]]", "[[bytes 100000]]"]
    async with _mesh(embedded_broker, loopback_url, tmp_path, claude_max_retries=0) as (_, client):
        submitted = await client.submit(_job(*prompts, max_failed_items=2))
        end = await client.wait(submitted.job_id, WAIT_SECONDS)
        results = await _results(client, submitted.job_id)
    assert (end.status, end.items_succeeded, end.items_failed) == ("completed", 2, 2)
    assert [result.error_type for result in results] == ["auth", None, "refused", None]
    assert results[3].output_url is not None


async def test_cancel_during_a_tool_call(embedded_broker: str, loopback_url: str, tmp_path: Path) -> None:
    """The job ends cancelled, and its CLI, tool and directory are gone within a heartbeat."""
    quick = {"lease_seconds": 5, "heartbeat_seconds": 0.5}
    async with _mesh(embedded_broker, loopback_url, tmp_path, **quick) as (mesh, client):
        seconds = own_seconds()
        prompt = f'[[tool Bash {{"command": "sleep {seconds}"}}]]'
        submitted = await client.submit(_job(prompt, options={"allowed_tools": ["Bash"]}))
        tool = await process_named(seconds)
        await client.cancel(submitted.job_id, "enough")
        end = await client.wait(submitted.job_id, WAIT_SECONDS)
        assert (end.status, end.items_not_run) == ("cancelled", 1)
        await all_gone([tool])
        await wait_until(lambda: not list(runs_path(mesh.settings).iterdir()), description="no directory is left")


async def test_kill_9_of_the_worker_with_a_cli_running(embedded_broker: str, loopback_url: str, tmp_path: Path) -> None:
    """Worker and children die at once: no CLI survives them, the job still ends once, each item counts once."""
    quick = {"lease_seconds": 5, "heartbeat_seconds": 0.5, "claim_timeout_seconds": 15}
    once = tmp_path / "once"
    seconds = own_seconds()
    command = f"if mkdir {once}; then sleep {seconds}; fi"
    (tmp_path / "once.sh").write_text(command, encoding="ascii")
    slow = f'[[tool Bash {{"command": "bash {tmp_path}/once.sh"}}]] [[reply slow]]'
    async with _mesh(embedded_broker, loopback_url, tmp_path, **quick) as (mesh, client):
        submitted = await client.submit(_job(slow, "[[reply quick]]", options={"allowed_tools": ["Bash"]}))
        tool = await process_named(seconds)
        assert mesh.worker.pid is not None
        os.kill(mesh.worker.pid, signal.SIGKILL)
        await all_gone([tool])
        await mesh.worker.wait()
        await mesh.worker.bring_up()
        end = await client.wait(submitted.job_id, WAIT_SECONDS)
        assert (end.status, end.items_succeeded) == ("completed", 2)
        results = await _results(client, submitted.job_id)
        assert [(result.output, result.item_index) for result in results] == [("slow", 0), ("quick", 1)]
        assert processes_named(seconds) == []
        await wait_until(lambda: not list(runs_path(mesh.settings).iterdir()), description="no directory is left")
