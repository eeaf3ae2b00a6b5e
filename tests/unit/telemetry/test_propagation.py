"""Trace context in carriers, and spans recorded afterwards."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from shared.telemetry import names
from shared.telemetry.propagation import context_from, extract, has_parent, inject, traceparent_of, tracestate_of
from shared.telemetry.setup import Telemetry
from shared.telemetry.spans import record_span, span

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _parent_of(context: Context) -> str:
    parent = trace.get_current_span(context).get_span_context()
    return f"{trace.format_trace_id(parent.trace_id)}-{trace.format_span_id(parent.span_id)}"


def test_a_context_survives_kafka_headers() -> None:
    """What is injected into headers is extracted from the tuple that a consumer gives, `tracestate` included."""
    headers = [("ce_id", b"7"), ("traceparent", b"old"), ("tracestate", b"old=1")]
    inject(headers, context_from(PARENT, "vendor=abc"))
    assert headers == [("ce_id", b"7"), ("traceparent", PARENT.encode()), ("tracestate", b"vendor=abc")]
    found = extract(tuple(headers))
    assert _parent_of(found) == PARENT[3:52]
    parent = trace.get_current_span(found)
    assert traceparent_of(parent) == PARENT
    assert tracestate_of(parent) == "vendor=abc"


def test_a_context_survives_a_mapping() -> None:
    """The same for a dictionary; a stale `tracestate` does not stay."""
    carrier = {"tracestate": "old=1", "other": "kept"}
    inject(carrier, context_from(PARENT))
    assert carrier == {"traceparent": PARENT, "other": "kept"}
    assert _parent_of(extract(carrier)) == PARENT[3:52]


def test_without_a_span_nothing_is_injected() -> None:
    """A carrier keeps what it has."""
    headers = [("traceparent", PARENT.encode())]
    inject(headers, Context())
    assert headers == [("traceparent", PARENT.encode())]


@pytest.mark.parametrize(
    "value",
    [
        b"\xff\xfe\x00",
        b"",
        b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        PARENT.encode() + b"-more",
        PARENT.encode() * 100,
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333\u0661-01".encode(),
        None,
    ],
)
def test_what_is_no_context_is_as_if_absent(value: bytes | None) -> None:
    """Headers from anybody: nothing in them is an error, and the span becomes a root."""
    assert not has_parent(extract([("traceparent", value), ("tracestate", b"\xc3\x28")]))


def test_a_bad_tracestate_does_not_cost_the_parent() -> None:
    """The parent counts even if what goes with it cannot be read."""
    assert has_parent(extract([("traceparent", PARENT.encode()), ("tracestate", b"\xc3\x28")]))
    assert has_parent(context_from(PARENT, "=,=;no"))


@pytest.mark.usefixtures("telemetry")
def test_the_context_does_not_depend_on_the_current_span() -> None:
    """A consumer's own span never becomes the parent of a record without context."""
    with span(names.SEND_JOBS):
        assert not has_parent(extract([]))
        assert not has_parent(context_from(None))


def _recorded(telemetry: Telemetry) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = telemetry.tracer_provider
    assert isinstance(provider, TracerProvider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


def test_a_wait_is_recorded_when_it_is_over(telemetry: Telemetry) -> None:
    """Times, parent, kind, attributes and failure are as given; clocks that disagree make no negative duration."""
    exporter = _recorded(telemetry)
    waited = record_span(
        names.QUEUE_WAIT, start_ms=1_000, end_ms=3_500, context=context_from(PARENT), attributes={names.JOB_ID: "j"}
    )
    record_span(names.PAUSE, start_ms=2_000, end_ms=1_000, context=context_from(PARENT), error="quota")
    wait, pause = exporter.get_finished_spans()
    assert isinstance(wait, ReadableSpan)
    assert (wait.start_time, wait.end_time) == (1_000_000_000, 3_500_000_000)
    assert wait.name == "queue wait"
    assert wait.parent is not None
    assert f"{wait.parent.span_id:016x}" == PARENT[36:52]
    assert f"{waited.trace_id:032x}" == PARENT[3:35]
    assert dict(wait.attributes or {}) == {"eldermesh.job.id": "j"}
    assert pause.start_time == pause.end_time == 2_000_000_000
    assert pause.status.status_code is StatusCode.ERROR
    assert pause.status.description == "quota"


def test_a_parent_that_is_not_sampled_is_obeyed(telemetry: Telemetry) -> None:
    """Nothing is recorded below it, and the flag goes on to what comes after."""
    exporter = _recorded(telemetry)
    with span(names.PROCESS_JOBS, context=context_from(PARENT[:-1] + "0")) as unsampled:
        assert (traceparent_of(unsampled) or "").endswith("-00")
    assert not exporter.get_finished_spans()
