"""OTLP/HTTP exporters (protobuf) that work only in the process that made them, with short time limits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from shared.http_client import is_loopback
from shared.telemetry.encodable import encodable

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
