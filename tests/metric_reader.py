"""What this process' metrics are at the moment somebody asks, and nothing older."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint

from shared.telemetry import providers
from shared.telemetry.metric_names import Metric


class MetricReader:
    """Asks all instruments of this process."""

    def __init__(self, reader: InMemoryMetricReader) -> None:
        self._reader = reader

    def values(self, metric: Metric, attribute: str) -> dict[str, float]:
        """A metric's numbers now, by one of their attributes (empty where they lack it)."""
        data = self._reader.get_metrics_data()
        return {
            str((point.attributes or {}).get(attribute, "")): point.value
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for told in scope.metrics
            if told.name == metric.name
            for point in told.data.data_points
            if isinstance(point, NumberDataPoint)
        }

    def samples(self, metric: Metric, attribute: str) -> dict[str, int]:
        """How many values a histogram has, by one of their attributes."""
        data = self._reader.get_metrics_data()
        found: dict[str, int] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for told in (each for each in scope.metrics if each.name == metric.name):
                    for point in told.data.data_points:
                        if isinstance(point, HistogramDataPoint):
                            name = str((point.attributes or {}).get(attribute, ""))
                            found[name] = found.get(name, 0) + point.count
        return found


@contextmanager
def metric_reader() -> Iterator[MetricReader]:
    """Reads the metrics of this process; afterwards they go nowhere, as before."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    providers.install()
    providers.METERS.replace(provider)
    try:
        yield MetricReader(reader)
    finally:
        providers.METERS.replace(NoOpMeterProvider())
        provider.shutdown()
