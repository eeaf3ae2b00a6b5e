"""Telemetry of a process: made once from the settings, made anew after a fork, shut down within seconds.

Exports run in threads of the SDK behind bounded queues: what does not fit, or cannot be sent, is dropped and logged.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version

from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from shared.settings import Settings
from shared.telemetry import providers
from shared.telemetry.exporters import ProcessMetricExporter, ProcessSpanExporter
from shared.telemetry.ids import JobIdGenerator
from shared.telemetry.process_metrics import observe_process

MAX_QUEUED_SPANS = 8_192
MAX_SPANS_A_BATCH = 512
SPAN_DELAY_MS = 500
METRIC_INTERVAL_MS = 10_000
MAX_ATTRIBUTE_LENGTH = 4_096
"""Longer attribute values, as of a stack trace, are cut."""

_AT_EXIT_SECONDS = 2.0
_SECONDS = View(
    instrument_type=Histogram,
    instrument_unit="s",
    # The SDK's own are for milliseconds: its least is 5.
    aggregation=ExplicitBucketHistogramAggregation(
        (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
    ),
)
_LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class Telemetry:
    """The providers of this process. Without an endpoint spans get their ids and are not exported."""

    settings: Settings
    service_name: str
    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    pid: int = field(default_factory=os.getpid)
    _flushing: threading.Thread | None = None
    _shut: bool = False

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Export what is queued, as far as the time goes; say whether all of it was tried."""
        if self._flushing is None or not self._flushing.is_alive():
            self._flushing = _in_background(self._export_all)
        self._flushing.join(timeout_seconds)
        return not self._flushing.is_alive()

    def shutdown(self, timeout_seconds: float = 5.0) -> bool:
        """Export what is queued, as far as the time goes, then stop; say whether all of it was tried.

        Spans that end later are dropped. A second call has nothing to do.
        """
        if self._shut:
            return True
        self._shut = True
        deadline = time.monotonic() + timeout_seconds
        both = [_in_background(self.tracer_provider.shutdown), _in_background(self.meter_provider.shutdown)]
        for thread in both:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in both)

    def _export_all(self) -> None:
        self.tracer_provider.force_flush()
        self.meter_provider.force_flush()


class _Process:
    """What is configured in this process."""

    def __init__(self) -> None:
        self.telemetry: Telemetry | None = None
        self.lock = threading.RLock()


_process = _Process()


def configure_telemetry(settings: Settings, service_name: str) -> Telemetry:
    """Set up spans and metrics of this process; what was set up before is flushed and shut down.

    Call it after a fork with the same effect; where it is not called, the first span or metric of the child does it.
    """
    with _process.lock:
        former, _process.telemetry = _process.telemetry, _make(settings, service_name)
        _install(_process.telemetry)
    if former is not None:
        _put_away(former)
    return _process.telemetry


def current_telemetry() -> Telemetry | None:
    """The telemetry of this process, made anew if it was forked since; None if it was never configured."""
    reset_after_fork()
    return _process.telemetry


def reset_after_fork() -> None:
    """In a forked child: new providers from the parent's settings. Elsewhere there is nothing to do.

    Spans that the parent had queued stay the parent's; counts of the child begin at zero.
    """
    former = _process.telemetry
    if former is None or former.pid == os.getpid():
        return
    with _process.lock:
        if _process.telemetry is former:
            configure_telemetry(former.settings, former.service_name)


def shutdown_telemetry(timeout_seconds: float = 5.0) -> bool:
    """Export what is queued and stop, in this process only; say whether all of it was tried in time."""
    telemetry = _process.telemetry
    return telemetry is None or telemetry.pid != os.getpid() or telemetry.shutdown(timeout_seconds)


def _make(settings: Settings, service_name: str) -> Telemetry:
    # `service.instance.id` is added by the SDK: random, a new one in each process.
    resource = Resource.create(
        {
            "service.name": service_name,
            "service.version": version("eldermesh"),
            "host.name": socket.gethostname(),  # tells replicas apart: in a container it is the container's id
            "process.pid": os.getpid(),
        }
    )
    endpoint, metrics_endpoint = settings.otlp_endpoint, settings.metrics_endpoint
    readers = []
    if metrics_endpoint:
        exporter = ProcessMetricExporter(metrics_endpoint)
        readers.append(PeriodicExportingMetricReader(exporter, export_interval_millis=METRIC_INTERVAL_MS))
    meter_provider = MeterProvider(
        readers,
        resource=resource,
        exemplar_filter=AlwaysOffExemplarFilter(),  # nothing reads them, and they are half of what a measurement costs
        shutdown_on_exit=False,
        views=[_SECONDS],
    )
    if metrics_endpoint:
        observe_process(meter_provider)
    tracer_provider = TracerProvider(
        # Given here, so that OTEL_TRACES_SAMPLER cannot make jobs without a trace.
        sampler=ParentBased(ALWAYS_ON),
        resource=resource,
        shutdown_on_exit=False,
        id_generator=JobIdGenerator(),
        span_limits=SpanLimits(max_attribute_length=MAX_ATTRIBUTE_LENGTH, max_events=32, max_links=32),
        meter_provider=meter_provider,
    )
    if endpoint:
        tracer_provider.add_span_processor(
            BatchSpanProcessor(
                ProcessSpanExporter(endpoint),
                max_queue_size=MAX_QUEUED_SPANS,
                schedule_delay_millis=SPAN_DELAY_MS,
                max_export_batch_size=MAX_SPANS_A_BATCH,
                meter_provider=meter_provider,
            )
        )
    return Telemetry(settings, service_name, tracer_provider, meter_provider)


def _install(telemetry: Telemetry) -> None:
    providers.TRACERS.replace(telemetry.tracer_provider)
    providers.METERS.replace(telemetry.meter_provider)
    providers.install()


def _put_away(former: Telemetry) -> None:
    if former.pid == os.getpid():
        former.shutdown()
    else:
        # Its locks may have been held when the process was forked: never wait for it.
        _in_background(former.tracer_provider.shutdown)
        _in_background(former.meter_provider.shutdown)


def _in_background(work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        except Exception:  # noqa: BLE001 - what the SDK raises here; telemetry that fails never fails a job
            _LOG.warning("telemetry could not be flushed or shut down", exc_info=True)

    thread = threading.Thread(target=run, name="telemetry", daemon=True)
    thread.start()
    return thread


def _after_fork_in_child() -> None:
    _process.lock = threading.RLock()
    if _process.telemetry is not None:
        providers.TRACERS.before_use = providers.METERS.before_use = reset_after_fork


def _at_exit() -> None:
    shutdown_telemetry(_AT_EXIT_SECONDS)


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
