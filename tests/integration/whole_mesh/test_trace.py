"""One trace from the submitting span to the item's span, on a mesh that `mesh up` runs, with its own receiver."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from confluent_kafka import Producer
from opentelemetry import trace
from opentelemetry.trace import format_span_id, format_trace_id

from eldermesh.client import Client
from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.ends import JobEnd
from eldermesh_cli.follow.trace_source import Span
from shared.telemetry import names
from tests.integration.test_path import WAIT_SECONDS, square_roots
from tests.job_traces import TRACED_TOPICS, assert_traced, received_spans, traces_of_job, traces_of_records, whole_trace
from tests.mesh import RunningMesh
from tests.trace_edges import EDGES, PUBLISHER_EDGES
from tests.tracing_process import traced_process
from tests.whole_topic import read_topic

ITEMS = 6
ROUTER_SPANS = {"process jobs", "accept job", "decide job", "dispatch chunk", "end job"}
WORKER_SPANS = {"queue wait", "process chunk", "process item"}

pytestmark = pytest.mark.slow


@pytest.fixture
async def client(running_mesh: RunningMesh) -> AsyncIterator[Client]:
    """A client of the mesh."""
    async with Client(running_mesh.settings.kafka_bootstrap, running_mesh.settings.topic_prefix) as client:
        yield client


async def send_plainly(mesh: RunningMesh, headers: dict[str, str | bytes | None] | None = None) -> str:
    """Send a job of `ITEMS` items with another client that traces nothing; return its id."""
    job_id = str(uuid4())
    value = {"workload": "python", "items": [4] * ITEMS, "options": {"function": "math:sqrt"}, "job_id": job_id}
    producer = Producer({"bootstrap.servers": mesh.settings.kafka_bootstrap})
    producer.produce(mesh.settings.topic("jobs"), value=json.dumps(value).encode(), headers=headers or {})
    assert await asyncio.to_thread(producer.flush, 15.0) == 0
    return job_id


async def assert_one_trace(mesh: RunningMesh, end: JobEnd, trace_id: str, *, published: bool = False) -> list[Span]:
    """Wait for all spans of a job; check edges, records, processes, items, and that no other trace has any of it."""
    edges = [*PUBLISHER_EDGES, *EDGES] if published else EDGES
    assert (end.status, end.trace_id) == ("completed", trace_id)
    await whole_trace(mesh.settings, trace_id, edges, items_total=ITEMS)
    spans = await assert_traced(mesh.settings, end.job_id, trace_id, edges)
    services = {span.name: span.service_name for span in spans}
    assert {name for name, service in services.items() if service == "eldermesh-router"} == ROUTER_SPANS
    assert {name for name, service in services.items() if service == "eldermesh-celery-worker"} == WORKER_SPANS
    assert sorted(span.attributes[names.ITEM_INDEX] for span in spans if span.name == "process item") == [*range(ITEMS)]
    assert traces_of_job(spans_path(mesh), end.job_id) == {trace_id}
    return spans


def spans_path(mesh: RunningMesh) -> Path:
    """Where the mesh keeps spans."""
    return mesh.settings.data_dir / "spans.sqlite"


async def test_below_the_span_that_submits(running_mesh: RunningMesh, client: Client) -> None:
    """The Python client inside a span: the whole job is below it, and the job's records are of its trace."""
    with (
        traced_process(running_mesh.settings),
        trace.get_tracer("publisher").start_as_current_span("nightly build") as build,
    ):
        submitted = await client.submit(square_roots([4.0] * ITEMS))
    context = build.get_span_context()
    assert submitted.trace_id == format_trace_id(context.trace_id)
    end = await client.wait(submitted.job_id, WAIT_SECONDS)
    spans = await assert_one_trace(running_mesh, end, submitted.trace_id, published=True)
    (sending,) = [span for span in spans if span.name == "send jobs"]
    assert (sending.parent_span_id, sending.service_name) == (format_span_id(context.span_id), "publisher")
    assert [span.name for span in spans if span.parent_span_id is None] == ["nightly build"]


async def test_a_plain_record_has_the_trace_of_its_id(running_mesh: RunningMesh, client: Client) -> None:
    """Nobody traced the submit: the trace id is the job id's 16 bytes, and the inbox's span is its root."""
    job_id = await send_plainly(running_mesh)
    end = await client.wait(job_id, WAIT_SECONDS)
    spans = await assert_one_trace(running_mesh, end, UUID(job_id).hex)
    assert [span.name for span in spans if span.parent_span_id is None] == ["process jobs"]


async def test_below_a_foreign_context(running_mesh: RunningMesh, client: Client) -> None:
    """A `traceparent` of another system is the parent of the inbox's span, and its `tracestate` goes all the way."""
    trace_id, span_id, state = uuid4().hex, uuid4().hex[:16], "vendor=some:thing"
    headers: dict[str, str | bytes | None] = {"traceparent": f"00-{trace_id}-{span_id}-01", "tracestate": state}
    end = await client.wait(await send_plainly(running_mesh, headers), WAIT_SECONDS)
    spans = await assert_one_trace(running_mesh, end, trace_id)
    (inbox,) = [span for span in spans if span.name == "process jobs"]
    assert inbox.parent_span_id == span_id
    states = [
        header_text(record.headers, "tracestate")
        for topic in TRACED_TOPICS
        for record in await read_topic(running_mesh.settings, topic)
        if header_text(record.headers, "ce_subject") == end.job_id
    ]
    assert set(states) == {state}


async def test_a_publisher_that_does_not_sample(running_mesh: RunningMesh, client: Client) -> None:
    """The flag that says so is kept: no span is exported, and the job and its records name the trace all the same."""
    trace_id, span_id = uuid4().hex, uuid4().hex[:16]
    job_id = await send_plainly(running_mesh, {"traceparent": f"00-{trace_id}-{span_id}-00"})
    end = await client.wait(job_id, WAIT_SECONDS)
    assert (end.status, end.trace_id) == ("completed", trace_id)
    assert {found for _, found in await traces_of_records(running_mesh.settings, job_id)} == {trace_id}
    after = await client.wait(await send_plainly(running_mesh), WAIT_SECONDS)
    await whole_trace(running_mesh.settings, after.trace_id, items_total=ITEMS)
    assert await received_spans(running_mesh.settings, trace_id) == []


async def test_the_command_joins_the_trace_of_its_caller(running_mesh: RunningMesh) -> None:
    """`mesh submit` below `TRACEPARENT`; `mesh trace` shows all spans; the segments of `mesh why` sum to the total."""
    trace_id, span_id = uuid4().hex, uuid4().hex[:16]
    running_mesh.env["TRACEPARENT"] = f"00-{trace_id}-{span_id}-01"
    try:
        items = ["4"] * ITEMS
        end = await answer(running_mesh, "submit", "python", "--function", "math:sqrt", *items, "--wait")
    finally:
        del running_mesh.env["TRACEPARENT"]
    spans = await assert_one_trace(running_mesh, JobEnd.model_validate(end), trace_id, published=True)
    (sending,) = [span for span in spans if span.name == "send jobs"]
    assert (sending.parent_span_id, sending.service_name) == (span_id, "mesh")

    told = await answer(running_mesh, "trace", end["job_id"])
    assert told == {"trace_id": trace_id, "spans": [span.as_json() for span in spans]}

    why = await answer(running_mesh, "why", end["job_id"])
    milliseconds = {segment["name"]: round(segment["seconds"] * 1000) for segment in why["segments"]}
    assert {"queue", "run"} <= set(milliseconds)
    assert sum(milliseconds.values()) == round(why["total_seconds"] * 1000)
    lived = datetime.fromisoformat(end["ended_at"]) - datetime.fromisoformat(end["accepted_at"])
    assert why["total_seconds"] >= lived.total_seconds() > 0


async def answer(mesh: RunningMesh, *arguments: str) -> dict[str, Any]:
    """What `mesh … --json` answers."""
    ended = await asyncio.to_thread(mesh.run, *arguments, "--json")
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    told: dict[str, Any] = json.loads(ended.stdout)
    return told
