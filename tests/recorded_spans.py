"""The spans that this process records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider

from shared.telemetry import providers


@contextmanager
def recorded_spans() -> Iterator[InMemorySpanExporter]:
    """Keeps the spans of this process; afterwards nothing is traced, as before."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    providers.install()
    providers.TRACERS.replace(provider)
    try:
        yield exporter
    finally:
        providers.TRACERS.replace(NoOpTracerProvider())
        provider.shutdown()
