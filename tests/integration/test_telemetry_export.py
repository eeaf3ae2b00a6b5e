"""Spans from the real exporter through the real receiver and store to the tree that `mesh trace` draws."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from io import StringIO
from pathlib import Path

import httpx
import pytest
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from rich.console import Console

from eldermesh_cli.follow.trace_source import TraceUnavailableError, fetch_trace
from eldermesh_cli.follow.trace_tree import trace_tree
from eldermesh_cli.stack.servers.free_ports import free_port
from eldermesh_cli.stack.telemetry.receiver import otlp_receiver
from shared.settings import Settings
from shared.telemetry import metric_names, names
from shared.telemetry.ids import root_trace
from shared.telemetry.propagation import context_from, traceparent_of
from shared.telemetry.setup import MAX_QUEUED_SPANS, configure_telemetry, current_telemetry
from shared.telemetry.spans import fail_span, record_span, span
from tests.trace_edges import EDGES, PUBLISHER_EDGES, WAIT_EDGES, assert_edges
from tests.waiting import wait_until


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[str]:
    """Base address of a receiver."""
    async with otlp_receiver(tmp_path / "spans.sqlite") as url:
        yield url
        await asyncio.to_thread(_export_nowhere)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    _export_nowhere()


def _export_nowhere() -> None:
    configure_telemetry(Settings(otlp_endpoint=None), "tests")


def _record_job(job_id: uuid.UUID) -> None:
    """The spans of a job as the services record them, each context taken over as text."""
    begin = time.time_ns() // 1_000_000
    with root_trace(job_id.hex), span(names.SEND_JOBS, context=Context()) as sent:
        carrier = traceparent_of(sent)
    with span(names.PROCESS_JOBS, context=context_from(carrier)), span(names.ACCEPT_JOB) as accepted:
        job = traceparent_of(accepted)
    with span(names.DECIDE_JOB, context=context_from(job)):
        pass
    for wait in (names.HOLD, names.PAUSE):
        record_span(wait, start_ms=begin, end_ms=begin + 5, context=context_from(job))
    with span(names.DISPATCH_CHUNK, context=context_from(job)) as dispatched:
        task = context_from(traceparent_of(dispatched))
    record_span(names.QUEUE_WAIT, start_ms=begin, end_ms=begin + 20, context=task)
    with span(names.PROCESS_CHUNK, context=task):
        for index in range(3):
            try:
                with span(names.PROCESS_ITEM, attributes={names.ITEM_INDEX: index}):
                    _ = 1 / (index - 1)
            except ZeroDivisionError:
                pass
    record_span(names.END_JOB, start_ms=begin + 20, end_ms=begin + 21, context=context_from(job))


async def test_a_jobs_trace_from_exporter_to_tree(receiver: str) -> None:
    """The trace is found by the job's id, has all edges of the matrix, and is drawn with its failed item in it."""
    telemetry = configure_telemetry(Settings(otlp_endpoint=receiver), "router")
    job_id = uuid.uuid4()
    _record_job(job_id)
    assert await asyncio.to_thread(telemetry.flush)
    spans = await fetch_trace(receiver, job_id.hex)
    assert len(spans) == 13
    assert_edges(spans, [*PUBLISHER_EDGES, *EDGES, *WAIT_EDGES])
    assert {span.service_name for span in spans} == {"router"}
    failed = [span for span in spans if span.status == "error"]
    assert [span.attributes[names.ITEM_INDEX] for span in failed] == [1]
    wait = next(span for span in spans if span.name == "queue wait")
    assert wait.duration_seconds == pytest.approx(0.02)
    assert set(wait.as_json()) == {
        *("span_id", "parent_span_id", "name", "service_name", "start_at", "duration_seconds", "status")
    }
    out = StringIO()
    Console(file=out, width=120).print(trace_tree(spans))
    drawn = out.getvalue()
    assert "missing parent" not in drawn
    assert drawn.splitlines()[1].startswith("send jobs")
    assert "ZeroDivisionError at" in drawn
    assert "division by zero" not in drawn  # messages of exceptions may quote the job


async def test_what_cannot_be_encoded_costs_no_other_span(receiver: str) -> None:
    """Half a character is a question mark, wherever it stands; a time beyond what OTLP holds becomes its last."""
    half = "half \ud83d"
    telemetry = configure_telemetry(Settings(otlp_endpoint=receiver), "router")
    root = Context()
    with span(names.DISPATCH_CHUNK, context=root, attributes={names.JOB_ID: half, "texts": [half, "ü"]}) as odd:
        odd.update_name(half)
        odd.add_event(half, {half: half})
        fail_span(odd, half)
        record_span(names.QUEUE_WAIT, start_ms=2**60, end_ms=2**60, context=trace.set_span_in_context(odd, root))
        with span(names.PROCESS_CHUNK, links=[trace.Link(odd.get_span_context(), {half: half})]):
            pass
    assert await asyncio.to_thread(telemetry.flush)
    spans = await fetch_trace(receiver, trace.format_trace_id(odd.get_span_context().trace_id))
    by_name = {each.name: each for each in spans}
    assert by_name.keys() == {"half ?", "process chunk", "queue wait"}
    assert by_name["half ?"].status == "error"
    assert by_name["half ?"].attributes.items() >= {(names.JOB_ID, "half ?"), ("texts", '["half ?","ü"]')}


async def test_a_dropped_carrier_is_seen_by_the_matrix(receiver: str) -> None:
    """Without one `traceparent` the child begins a trace of its own, and the assertion on edges fails."""
    telemetry = configure_telemetry(Settings(otlp_endpoint=receiver), "router")
    with span(names.DISPATCH_CHUNK, context=Context()) as dispatched:
        pass
    with span(names.PROCESS_CHUNK, context=context_from(None)):
        pass
    assert await asyncio.to_thread(telemetry.flush)
    spans = await fetch_trace(receiver, trace.format_trace_id(dispatched.get_span_context().trace_id))
    with pytest.raises(AssertionError, match="edges that are not in the trace"):
        assert_edges(spans, [("dispatch chunk", "process chunk")])


async def test_metrics_stay_where_only_spans_are_taken(receiver: str) -> None:
    """With `otlp_metrics` off spans arrive, and no metric does."""
    telemetry = configure_telemetry(Settings(otlp_endpoint=receiver, otlp_metrics=False), "router")
    metrics.get_meter("kept").create_counter("kept.here").add(1)
    job_id = uuid.uuid4()
    _record_job(job_id)
    assert await asyncio.to_thread(telemetry.flush)
    assert await fetch_trace(receiver, job_id.hex)
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        assert "kept_here" not in (await client.get(f"{receiver}/metrics")).text


async def test_metrics_arrive_and_are_shown_for_prometheus(receiver: str) -> None:
    """Counter, histogram and gauge of the registry, and the process' own metrics."""
    counter = metrics.get_meter("before").create_counter(
        metric_names.JOBS_ACCEPTED.name, metric_names.JOBS_ACCEPTED.unit
    )
    telemetry = configure_telemetry(Settings(otlp_endpoint=receiver), "router")
    meter = metrics.get_meter("after")
    counter.add(2, {names.JOB_TENANT: 'a"b'})
    meter.create_histogram(metric_names.CHUNK_DURATION.name, metric_names.CHUNK_DURATION.unit).record(
        0.2, {names.ENGINE: "celery"}
    )
    meter.create_gauge(metric_names.QUEUE_DEPTH.name, metric_names.QUEUE_DEPTH.unit).set(7)
    assert await asyncio.to_thread(telemetry.flush)
    async with httpx.AsyncClient() as client:
        lines = (await client.get(f"{receiver}/metrics")).text.splitlines()
    values = {line.partition("{")[0]: line.rpartition(" ")[2] for line in lines if not line.startswith("#")}
    assert values["eldermesh_jobs_accepted_total"] == "2.0"
    assert values["eldermesh_queue_depth"] == "7.0"
    assert values["eldermesh_chunk_duration_seconds_count"] == "1.0"
    assert values["eldermesh_chunk_duration_seconds_sum"] == "0.2"
    assert float(values["process_memory_usage_bytes"]) > 1_000_000
    assert any('eldermesh_job_tenant="a\\"b"' in line for line in lines)
    assert "# TYPE eldermesh_jobs_accepted_total counter" in lines


async def test_configured_again_tracers_follow(receiver: str, tmp_path: Path) -> None:
    """A tracer that was made long before writes to the collector that is configured now; the former got its spans."""
    tracer = trace.get_tracer("early")
    configure_telemetry(Settings(otlp_endpoint=receiver), "one")
    with tracer.start_as_current_span("first", context=Context()) as first:
        pass
    async with otlp_receiver(tmp_path / "other.sqlite") as other:
        second_telemetry = await asyncio.to_thread(configure_telemetry, Settings(otlp_endpoint=other), "two")
        assert current_telemetry() is second_telemetry
        with tracer.start_as_current_span("second", context=Context()) as second:
            pass
        assert await asyncio.to_thread(second_telemetry.shutdown)
        (found,) = await fetch_trace(other, trace.format_trace_id(second.get_span_context().trace_id))
        assert (found.name, found.service_name) == ("second", "two")
    (found,) = await fetch_trace(receiver, trace.format_trace_id(first.get_span_context().trace_id))
    assert (found.name, found.service_name) == ("first", "one")


async def test_a_collector_that_is_not_there_costs_no_time() -> None:
    """More spans than the queue holds are recorded quickly; flush and shutdown keep their limits; nothing raises."""
    telemetry = configure_telemetry(Settings(otlp_endpoint=f"http://127.0.0.1:{free_port()}"), "router")
    began = time.monotonic()
    for _ in range(2 * MAX_QUEUED_SPANS):
        with span(names.PROCESS_ITEM, context=Context()):
            pass
    assert time.monotonic() - began < 10.0
    began = time.monotonic()
    await asyncio.to_thread(telemetry.flush, 0.5)
    await asyncio.to_thread(telemetry.shutdown, 0.5)
    assert time.monotonic() - began < 20.0, "each would wait for 30 s by itself"


async def test_a_collector_that_comes_back_gets_spans_again(tmp_path: Path) -> None:
    """What was dropped meanwhile stays dropped; what is recorded afterwards arrives."""
    port = free_port()
    configure_telemetry(Settings(otlp_endpoint=f"http://127.0.0.1:{port}"), "router")
    with span(names.SEND_JOBS, context=Context()):
        pass
    async with otlp_receiver(tmp_path / "spans.sqlite", port=port) as url:

        async def arrived() -> bool:
            with span(names.PROCESS_JOBS, context=Context()) as recorded:
                pass
            telemetry = current_telemetry()
            assert telemetry is not None
            await asyncio.to_thread(telemetry.flush, 1.0)
            return bool(await fetch_trace(url, trace.format_trace_id(recorded.get_span_context().trace_id)))

        await wait_until(arrived, description="a span arrives once the collector is there")


async def test_no_trace_and_no_query_api_are_told_apart(receiver: str) -> None:
    """An unknown trace is an empty list; a place that does not answer, or not as Jaeger does, is an error."""
    assert await fetch_trace(receiver, uuid.uuid4().hex) == []
    for wrong in (f"http://127.0.0.1:{free_port()}", f"{receiver}/metrics?", "not a url"):
        with pytest.raises(TraceUnavailableError):
            await fetch_trace(wrong, uuid.uuid4().hex)
