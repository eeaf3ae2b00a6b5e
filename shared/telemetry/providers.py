"""The process' global providers: what stands behind them can be replaced, which the SDK's own cannot.

OpenTelemetry lets a process set its global providers once, and a tracer keeps the provider it came from. A fork needs
new ones: the SDK restarts its threads in the child, but the HTTP connection, locks that were held, and all counts would
be shared with the parent or copied from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from opentelemetry import metrics, trace
from opentelemetry.metrics import Meter, MeterProvider, NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider, Span, Tracer, TracerProvider

P = TypeVar("P")


class Current(Generic[P]):
    """What stands behind a global provider now. `before_use` is called ahead of each use."""

    def __init__(self, provider: P) -> None:
        self.provider = provider
        self.before_use: Callable[[], None] | None = None

    def get(self) -> P:
        """The provider to use."""
        if self.before_use is not None:
            self.before_use()
        return self.provider


class ReplaceableTracerProvider(TracerProvider):
    """Tracers that always write to the current provider."""

    def __init__(self, current: Current[TracerProvider]) -> None:
        self._current = current

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        """A tracer of this name."""
        return _ReplaceableTracer(self._current, lambda provider: provider.get_tracer(*args, **kwargs))


class _ReplaceableTracer(Tracer):
    def __init__(self, current: Current[TracerProvider], make: Callable[[TracerProvider], Tracer]) -> None:
        self._current = current
        self._make = make
        self._made: tuple[TracerProvider, Tracer] | None = None

    def _tracer(self) -> Tracer:
        provider, made = self._current.get(), self._made
        if made is None or made[0] is not provider:
            made = self._made = (provider, self._make(provider))
        return made[1]

    def start_span(self, *args: Any, **kwargs: Any) -> Span:
        return self._tracer().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer().start_as_current_span(*args, **kwargs)


class ReplaceableMeterProvider(MeterProvider):
    """Meters of the provider that is current when they are asked for; instruments stay with theirs."""

    def __init__(self, current: Current[MeterProvider]) -> None:
        self._current = current

    def get_meter(self, *args: Any, **kwargs: Any) -> Meter:
        """A meter of this name."""
        return self._current.get().get_meter(*args, **kwargs)


TRACERS: Current[TracerProvider] = Current(NoOpTracerProvider())
METERS: Current[MeterProvider] = Current(NoOpMeterProvider())
_TRACER_PROVIDER = ReplaceableTracerProvider(TRACERS)
_METER_PROVIDER = ReplaceableMeterProvider(METERS)


def install() -> None:
    """Make the replaceable providers the global ones; the second time there is nothing to do."""
    if trace.get_tracer_provider() is not _TRACER_PROVIDER:
        trace.set_tracer_provider(_TRACER_PROVIDER)
    if metrics.get_meter_provider() is not _METER_PROVIDER:
        metrics.set_meter_provider(_METER_PROVIDER)
