"""Metrics of the process itself (CPU, memory, threads, file descriptors) by the OpenTelemetry library for them."""

from __future__ import annotations

from importlib.util import find_spec

from opentelemetry.sdk.metrics import MeterProvider

from shared.telemetry.metric_names import Metric

_LIBRARY = "opentelemetry.instrumentation.system_metrics"

PROCESS_METRICS: dict[str, list[str] | None] = {
    "process.cpu.time": ["user", "system"],
    "process.cpu.utilization": ["user", "system"],
    "process.memory.usage": None,
    "process.memory.virtual": None,
    "process.thread.count": None,
    "process.open_file_descriptor.count": None,
    "process.context_switches": ["involuntary", "voluntary"],
    "cpython.gc.collections": None,
}
"""Of the process only: metrics of the whole system are the same in each of a machine's processes."""

PROCESS_CPU = Metric("process.cpu.time", "counter", "s", "CPU time of the process", ("type",))
PROCESS_MEMORY = Metric("process.memory.usage", "gauge", "By", "resident memory of the process", ())
PROCESS_THREADS = Metric("process.thread.count", "gauge", "{thread}", "threads of the process", ())
PROCESS_FILES = Metric("process.open_file_descriptor.count", "gauge", "{file_descriptor}", "open file descriptors", ())
SHOWN_PROCESS_METRICS = (PROCESS_CPU, PROCESS_MEMORY, PROCESS_THREADS, PROCESS_FILES)
"""Those that dashboards and alerts use, as the library has them."""


def observe_process(meter_provider: MeterProvider) -> bool:
    """Have this process observed; say whether the library is installed (it comes with the extra `service`).

    Called again, as after a fork, it observes the process that calls.
    """
    if not _installed():
        return False
    from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor  # noqa: PLC0415 - only in [service]

    instrumentor = SystemMetricsInstrumentor(config=PROCESS_METRICS)
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    instrumentor.instrument(meter_provider=meter_provider)
    return True


def _installed() -> bool:
    try:
        return find_spec(_LIBRARY) is not None and find_spec("psutil") is not None
    except ModuleNotFoundError:
        return False
