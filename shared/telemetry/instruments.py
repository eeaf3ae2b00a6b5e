"""Write metrics of the registry. Before telemetry is configured there is nothing to write to, and nothing happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider, NoOpMeterProvider
from opentelemetry.metrics import _Gauge as Gauge
from opentelemetry.util.types import AttributeValue

from shared.telemetry.names import Metric
from shared.telemetry.providers import METERS

Attributes = Mapping[str, AttributeValue]

_SCOPE = "eldermesh"


@dataclass
class _Instruments:
    """The instruments made by one provider, by name."""

    provider: MeterProvider
    counters: dict[str, Counter] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)
    gauges: dict[str, Gauge] = field(default_factory=dict)

    def meter(self) -> Meter:
        return self.provider.get_meter(_SCOPE)


_current = _Instruments(NoOpMeterProvider())


def count(metric: Metric, amount: int = 1, attributes: Attributes | None = None) -> None:
    """Add to a counter."""
    instruments = _instruments()
    made = instruments.counters
    if metric.name not in made:
        made[metric.name] = instruments.meter().create_counter(metric.name, metric.unit, metric.meaning)
    made[metric.name].add(amount, attributes)


def measure(metric: Metric, value: float, attributes: Attributes | None = None) -> None:
    """Record one value, as seconds, in a histogram."""
    instruments = _instruments()
    made = instruments.histograms
    if metric.name not in made:
        made[metric.name] = instruments.meter().create_histogram(metric.name, metric.unit, metric.meaning)
    made[metric.name].record(value, attributes)


def set_gauge(metric: Metric, value: float, attributes: Attributes | None = None) -> None:
    """Say what a gauge shows from now on."""
    instruments = _instruments()
    made = instruments.gauges
    if metric.name not in made:
        made[metric.name] = instruments.meter().create_gauge(metric.name, metric.unit, metric.meaning)
    made[metric.name].set(value, attributes)


def _instruments() -> _Instruments:
    """The instruments of the current provider: others after a fork."""
    global _current  # noqa: PLW0603 - as the provider itself, one a process
    provider = METERS.get()
    if _current.provider is not provider:
        _current = _Instruments(provider)
    return _current
