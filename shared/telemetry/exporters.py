"""OTLP/HTTP exporters (protobuf) that work only in the process that made them, with short time limits.

One text that OTLP cannot carry would cost the whole batch of spans around it, so texts are made encodable first.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import Link, Status

from shared.http_client import is_loopback
from shared.text.surrogates import whole_characters

EXPORT_TIMEOUT_SECONDS = 5.0
"""Limit of one export with all its retries; then its batch is dropped."""


class ProcessSpanExporter(OTLPSpanExporter):
    """Exports spans to `{endpoint}/v1/traces`.

    After a fork the child's copy does nothing: its connection is the parent's, and two writers would garble it.
    """

    def __init__(self, endpoint: str) -> None:
        self._pid = os.getpid()
        super().__init__(
            endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_SECONDS, session=_session(endpoint)
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch, unless this is a child's copy."""
        return super().export(encodable(spans)) if os.getpid() == self._pid else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Break off a retry and close the connection, unless this is a child's copy."""
        if os.getpid() == self._pid:
            super().shutdown()  # type: ignore[no-untyped-call]


class ProcessMetricExporter(OTLPMetricExporter):
    """Exports metrics to `{endpoint}/v1/metrics`.

    After a fork the child's copy does nothing: its counts are the parent's.
    """

    def __init__(self, endpoint: str) -> None:
        self._pid = os.getpid()
        super().__init__(
            endpoint=f"{endpoint.rstrip('/')}/v1/metrics", timeout=EXPORT_TIMEOUT_SECONDS, session=_session(endpoint)
        )

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = None, **kwargs: Any
    ) -> MetricExportResult:
        """Send what was collected, unless this is a child's copy."""
        if os.getpid() != self._pid:
            return MetricExportResult.SUCCESS
        return super().export(metrics_data, timeout_millis=timeout_millis, **kwargs)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Break off a retry and close the connection, unless this is a child's copy."""
        if os.getpid() == self._pid:
            super().shutdown(timeout_millis=timeout_millis, **kwargs)


def _session(endpoint: str) -> requests.Session:
    session = requests.Session()
    # A proxy of the environment cannot reach this machine's loopback, and `.netrc` is not for it.
    session.trust_env = not is_loopback(endpoint)
    return session


def encodable(spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
    """The spans with question marks for halves of characters, which a plug-in or a job may have put into any text."""
    return [span if _is_whole(_texts(span)) else _made_whole(span) for span in spans]


def _texts(span: ReadableSpan) -> Iterable[Any]:
    yield span.name
    yield span.status.description
    yield from _of_attributes(span.attributes)
    for event in span.events:
        yield event.name
        yield from _of_attributes(event.attributes)
    for link in span.links:
        yield from _of_attributes(link.attributes)


def _of_attributes(attributes: Mapping[str, Any] | None) -> Iterable[Any]:
    for name, value in (attributes or {}).items():
        yield name
        if isinstance(value, str):
            yield value
        elif isinstance(value, Sequence):
            yield from value


def _is_whole(values: Iterable[Any]) -> bool:
    return all(not isinstance(value, str) or value.isascii() or whole_characters(value) == value for value in values)


def _made_whole(span: ReadableSpan) -> ReadableSpan:
    events = [Event(whole_characters(each.name), _attributes(each.attributes), each.timestamp) for each in span.events]
    return ReadableSpan(
        name=whole_characters(span.name),
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=_attributes(span.attributes),
        events=events,
        links=[Link(each.context, _attributes(each.attributes)) for each in span.links],
        kind=span.kind,
        status=Status(span.status.status_code, _whole(span.status.description)),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {whole_characters(name): _whole(value) for name, value in (attributes or {}).items()}


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return whole_characters(value)
    return [_whole(each) for each in value] if isinstance(value, list | tuple) else value
