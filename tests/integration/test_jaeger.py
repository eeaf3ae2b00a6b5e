"""One trace in a real Jaeger, read back through its query API, from the submitting span to the item's span."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.trace import format_trace_id

from eldermesh.client import Client
from eldermesh_cli.stack.servers.ray import EmbeddedRay
from tests.integration.test_path import WAIT_SECONDS, square_roots
from tests.jaeger_server import JaegerServer
from tests.job_traces import assert_traced, whole_trace
from tests.mesh_services import mesh_services
from tests.ray_head import reaching
from tests.trace_edges import EDGES, PUBLISHER_EDGES
from tests.tracing_process import traced_process

ITEMS = 6

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("engine", ["celery", "ray"])
async def test_a_job_in_jaeger(
    embedded_broker: str, jaeger: JaegerServer, ray_head: EmbeddedRay, tmp_path: Path, engine: str
) -> None:
    """Every parent and child of the matrix is there, each record carries the trace, and `mesh trace` shows the same."""
    job = square_roots([4.0] * ITEMS).model_copy(update={"engine": engine})
    edges = [*PUBLISHER_EDGES, *EDGES]
    async with mesh_services(
        embedded_broker,
        "embedded",
        tmp_path,
        otlp_endpoint=jaeger.otlp_url,
        trace_query_url=jaeger.query_url,
        **reaching(ray_head),
    ) as mesh:
        async with Client(embedded_broker, mesh.settings.topic_prefix) as client:
            with (
                traced_process(mesh.settings),
                trace.get_tracer("publisher").start_as_current_span("nightly build") as build,
            ):
                submitted = await client.submit(job)
            end = await client.wait(submitted.job_id, WAIT_SECONDS)
        trace_id = format_trace_id(build.get_span_context().trace_id)
        assert (end.status, end.engine, end.trace_id) == ("completed", engine, trace_id)
        await whole_trace(mesh.settings, trace_id, edges, items_total=ITEMS)
        spans = await assert_traced(mesh.settings, end.job_id, trace_id, edges)
        assert [span.name for span in spans if span.parent_span_id is None] == ["nightly build"]
        asked = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "eldermesh_cli.main", "trace", end.job_id, "--json"),
            env={**os.environ, **mesh.settings.environment()},
            stdout=asyncio.subprocess.PIPE,
        )
        answer, _ = await asked.communicate()
        assert json.loads(answer) == {"trace_id": trace_id, "spans": [span.as_json() for span in spans]}
