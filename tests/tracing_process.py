"""This process as a publisher that is traced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from shared.settings import Settings
from shared.telemetry import providers
from shared.telemetry.setup import Telemetry, configure_telemetry, shutdown_telemetry


@contextmanager
def traced_process(settings: Settings, service_name: str = "publisher") -> Iterator[Telemetry]:
    """Spans of this process are exported to the mesh's endpoint; afterwards nothing is traced, as before."""
    try:
        yield configure_telemetry(settings, service_name)
    finally:
        assert shutdown_telemetry()
        providers.TRACERS.replace(NoOpTracerProvider())
        providers.METERS.replace(NoOpMeterProvider())
