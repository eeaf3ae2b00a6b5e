"""One trace from the span that sends a prompt to the CLI's request to the model."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.trace import format_trace_id

from eldermesh.client import Client
from eldermesh.contract.cloudevents import header_text
from eldermesh_cli.follow.trace_source import Span
from shared.kafka.topics import CLAUDE_HISTORY, CLAUDE_OUTPUT
from shared.settings import Settings
from tests.integration.claude.asking import asking
from tests.jaeger_server import JaegerServer
from tests.job_traces import received_spans
from tests.trace_edges import NOT_RECEIVED, REQUEST_EDGES, REQUEST_PUBLISHER_EDGES, Edge, assert_edges, edges_of
from tests.tracing_process import traced_process
from tests.waiting import wait_until
from tests.whole_topic import read_topic

pytestmark = pytest.mark.slow

CLI_EDGES: list[Edge] = [
    ("process request", "claude_code.interaction"),
    ("claude_code.interaction", "claude_code.llm_request"),
]
_WHOLE = [*REQUEST_PUBLISHER_EDGES, *REQUEST_EDGES, *CLI_EDGES]


async def whole_trace(settings: Settings, trace_id: str, edges: list[Edge]) -> list[Span]:
    """The spans of a trace, once all these edges are among them and every parent is known."""

    async def look() -> list[Span]:
        spans = await received_spans(settings, trace_id)
        found = edges_of(spans)
        return spans if set(edges) <= found and not any(parent == NOT_RECEIVED for parent, _ in found) else []

    return await wait_until(look, description=f"trace {trace_id} is whole", timeout_seconds=120)


async def prompt_in_a_trace(settings: Settings) -> None:
    """Send a prompt inside a span; fail unless all of it is below that span, and all its records are of its trace."""
    async with Client(settings.kafka_bootstrap, settings.topic_prefix) as client:
        with (
            traced_process(settings),
            trace.get_tracer("publisher").start_as_current_span("review") as review,
        ):
            sent = await client.prompt("[[reply fine]]")
        end = await client.answer(sent.request_id, 60)
    trace_id = format_trace_id(review.get_span_context().trace_id)
    assert (end.result, end.trace_id, sent.trace_id) == ("fine", trace_id, trace_id)
    spans = await whole_trace(settings, trace_id, _WHOLE)
    assert_edges(spans, _WHOLE)
    assert [span.name for span in spans if span.parent_span_id is None] == ["review"]
    services = {span.service_name for span in spans if span.name in {"accept request", "process request"}}
    assert services == {"eldermesh-claude_exec"}
    traces = set()
    for topic in (CLAUDE_HISTORY, CLAUDE_OUTPUT):
        for record in await read_topic(settings, topic):
            if header_text(record.headers, "ce_subject") == sent.request_id:
                traces.add((header_text(record.headers, "traceparent") or "").split("-")[1])
    assert traces == {trace_id}


async def test_in_jaeger(
    embedded_broker: str, redis_server: str, loopback_url: str, jaeger: JaegerServer, tmp_path: Path
) -> None:
    """Every parent and child of the matrix, read back through Jaeger's query API."""
    async with asking(
        embedded_broker,
        redis_server,
        loopback_url,
        tmp_path,
        otlp_endpoint=jaeger.otlp_url,
        trace_query_url=jaeger.query_url,
    ) as mesh:
        await prompt_in_a_trace(mesh.settings)
