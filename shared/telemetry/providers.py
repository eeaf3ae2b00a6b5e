"""The process' global providers: what stands behind them can be replaced, which the SDK's own cannot.

OpenTelemetry lets a process set its global providers once, and tracers and instruments keep the provider they came
from. A fork needs new ones: the SDK restarts its threads in the child, but the HTTP connection, locks that were held,
and all counts would be shared with the parent or copied from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from opentelemetry import metrics, trace
from opentelemetry.metrics import (
    Counter,
    Histogram,
    Meter,
    MeterProvider,
    NoOpMeterProvider,
    NoOpObservableCounter,
    NoOpObservableGauge,
    NoOpObservableUpDownCounter,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.metrics import _Gauge as Gauge
from opentelemetry.trace import NoOpTracerProvider, Span, Tracer, TracerProvider

P = TypeVar("P")
T = TypeVar("T")


class Current(Generic[P]):
    """The provider that is used now. `before_use` is called ahead of each use: in a forked child it replaces it."""

    def __init__(self, provider: P) -> None:
        self._provider = provider
        self._followers: list[Callable[[P], object]] = []
        self.before_use: Callable[[], None] | None = None

    def get(self) -> P:
        """The provider to use."""
        if self.before_use is not None:
            self.before_use()
        return self._provider

    def replace(self, provider: P) -> None:
        """Use another provider from now on."""
        self.before_use = None
        self._provider = provider
        for follow in self._followers:
            follow(provider)

    def follow(self, follower: Callable[[P], object]) -> None:
        """Call `follower` with the provider, now and whenever it is replaced."""
        follower(self.get())
        self._followers.append(follower)


class Made(Generic[P, T]):
    """Something that each provider makes of its own: made again when the provider was replaced."""

    def __init__(self, current: Current[P], make: Callable[[P], T]) -> None:
        self._current = current
        self._make = make
        self._made: tuple[P, T] | None = None

    def get(self) -> T:
        """What the provider that is used now has made."""
        provider, made = self._current.get(), self._made
        if made is None or made[0] is not provider:
            made = self._made = (provider, self._make(provider))
        return made[1]


class _Tracers(TracerProvider):
    def __init__(self, current: Current[TracerProvider]) -> None:
        self._current = current

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        return _Tracer(Made(self._current, lambda provider: provider.get_tracer(*args, **kwargs)))


class _Tracer(Tracer):
    def __init__(self, made: Made[TracerProvider, Tracer]) -> None:
        self._made = made

    def start_span(self, *args: Any, **kwargs: Any) -> Span:
        return self._made.get().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._made.get().start_as_current_span(*args, **kwargs)


class _Meters(MeterProvider):
    def __init__(self, current: Current[MeterProvider]) -> None:
        self._current = current

    def get_meter(self, name: str, *args: Any, **kwargs: Any) -> Meter:
        meter = Made(self._current, lambda provider: provider.get_meter(name, *args, **kwargs))
        return _Meter(name, self._current, meter)


class _Meter(Meter):
    def __init__(self, name: str, current: Current[MeterProvider], meter: Made[MeterProvider, Meter]) -> None:
        super().__init__(name)
        self._current = current
        self._meter = meter

    def create_counter(self, name: str, *args: Any, **kwargs: Any) -> Counter:
        return _Counter(Made(self._current, lambda _: self._meter.get().create_counter(name, *args, **kwargs)))

    def create_up_down_counter(self, name: str, *args: Any, **kwargs: Any) -> UpDownCounter:
        made = Made(self._current, lambda _: self._meter.get().create_up_down_counter(name, *args, **kwargs))
        return _UpDownCounter(made)

    def create_histogram(self, name: str, *args: Any, **kwargs: Any) -> Histogram:
        made = Made(self._current, lambda _: self._meter.get().create_histogram(name, *args, **kwargs))
        return _Histogram(made)

    def create_gauge(self, name: str, *args: Any, **kwargs: Any) -> Gauge:
        return _Gauge(Made(self._current, lambda _: self._meter.get().create_gauge(name, *args, **kwargs)))

    # Nobody writes to these: each provider asks their callbacks. What is returned is only a name for them.

    def create_observable_counter(self, name: str, *args: Any, **kwargs: Any) -> ObservableCounter:
        self._current.follow(lambda _: self._meter.get().create_observable_counter(name, *args, **kwargs))
        return NoOpObservableCounter(name)

    def create_observable_gauge(self, name: str, *args: Any, **kwargs: Any) -> ObservableGauge:
        self._current.follow(lambda _: self._meter.get().create_observable_gauge(name, *args, **kwargs))
        return NoOpObservableGauge(name)

    def create_observable_up_down_counter(self, name: str, *args: Any, **kwargs: Any) -> ObservableUpDownCounter:
        self._current.follow(lambda _: self._meter.get().create_observable_up_down_counter(name, *args, **kwargs))
        return NoOpObservableUpDownCounter(name)


class _Instrument:
    def __init__(self, made: Made[MeterProvider, Any]) -> None:
        self._made = made


class _Counter(_Instrument, Counter):
    def add(self, *args: Any, **kwargs: Any) -> None:
        self._made.get().add(*args, **kwargs)


class _UpDownCounter(_Instrument, UpDownCounter):
    def add(self, *args: Any, **kwargs: Any) -> None:
        self._made.get().add(*args, **kwargs)


class _Histogram(_Instrument, Histogram):
    def record(self, *args: Any, **kwargs: Any) -> None:
        self._made.get().record(*args, **kwargs)


class _Gauge(_Instrument, Gauge):
    def set(self, *args: Any, **kwargs: Any) -> None:
        self._made.get().set(*args, **kwargs)


TRACERS: Current[TracerProvider] = Current(NoOpTracerProvider())
METERS: Current[MeterProvider] = Current(NoOpMeterProvider())
_TRACER_PROVIDER = _Tracers(TRACERS)
_METER_PROVIDER = _Meters(METERS)


def install() -> None:
    """Make these the global providers; the second time there is nothing to do."""
    if trace.get_tracer_provider() is not _TRACER_PROVIDER:
        trace.set_tracer_provider(_TRACER_PROVIDER)
    if metrics.get_meter_provider() is not _METER_PROVIDER:
        metrics.set_meter_provider(_METER_PROVIDER)
