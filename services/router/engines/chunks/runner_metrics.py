"""The metrics of chunk runners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from eldermesh.contract.vocabulary import Engine
from shared.facts.jobs import FactResult
from shared.telemetry import metric_names, names


class RunnerMetrics:
    """The metrics of one runner of an engine."""

    def __init__(self, engine: Engine) -> None:
        meter = metrics.get_meter(__name__)
        self._engine: dict[str, str] = {names.ENGINE: engine}
        self._waits = meter.create_histogram(
            metric_names.QUEUE_WAIT_DURATION.name, metric_names.QUEUE_WAIT_DURATION.unit
        )
        self._running = 0
        meter.create_observable_gauge(
            metric_names.CHUNKS_RUNNING.name, callbacks=[self._observed], unit=metric_names.CHUNKS_RUNNING.unit
        )
        self._chunks = meter.create_histogram(metric_names.CHUNK_DURATION.name, metric_names.CHUNK_DURATION.unit)
        self._items = meter.create_counter(metric_names.ITEMS_ENDED.name, metric_names.ITEMS_ENDED.unit)

    def began(self, wait_seconds: float) -> None:
        """A chunk was claimed, `wait_seconds` after its dispatch."""
        self._waits.record(max(0.0, wait_seconds), self._engine)
        self._running += 1

    def ended(self, seconds: float, workload: str | None) -> None:
        """A chunk no longer runs; `workload` is None if it ended before that was known."""
        self._running -= 1
        self._chunks.record(seconds, self._engine | ({} if workload is None else {names.JOB_WORKLOAD: workload}))

    def items_ended(self, workload: str, results: Iterable[FactResult]) -> None:
        """Items have their results."""
        for (status, error_type), number in Counter((result.status, result.error_type) for result in results).items():
            attributes = {names.JOB_WORKLOAD: workload, names.ITEM_STATUS: status}
            if error_type is not None:
                attributes[names.ERROR_TYPE] = error_type
            self._items.add(number, attributes)

    def _observed(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(self._running, self._engine)]
