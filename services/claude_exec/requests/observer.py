"""Telemetry of the owners of requests: the spans of ends, and the owner's metrics."""

from __future__ import annotations

from opentelemetry import metrics

from services.claude_exec.requests.state import RequestState
from shared.history.clock import Clock
from shared.history.owner_parts import OwnerMetrics
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import record_span


class RequestObserver(OwnerMetrics):
    """`Observer[RequestState]`.

    Args:
        history_topic: full name of `claude.history`.
        clock: time at which an end was acknowledged.
    """

    def __init__(self, history_topic: str, clock: Clock) -> None:
        self._clock = clock
        meter = metrics.get_meter(__name__)
        super().__init__(meter, history_topic)
        self._ends = meter.create_counter(metric_names.REQUESTS_ENDED.name, metric_names.REQUESTS_ENDED.unit)
        self._durations = meter.create_histogram(metric_names.REQUEST_DURATION.name, metric_names.REQUEST_DURATION.unit)

    def published_end(self, state: RequestState) -> None:
        """Count an end, and record its span from the deciding fact to the acknowledged record."""
        end, acceptance = state.end, state.acceptance
        if end is None or acceptance is None:
            return
        record_span(
            names.END_REQUEST,
            start_ms=end.at,
            end_ms=self._clock.now_ms(),
            context=context_from(acceptance.traceparent, acceptance.tracestate),
            attributes={names.REQUEST_ID: state.request_id, names.REQUEST_STATUS: end.status},
            error="failed" if end.status == "failed" else None,
        )
        self._ends.add(1, {names.REQUEST_STATUS: end.status})
        self._durations.record((end.at - acceptance.at) / 1000, {names.REQUEST_STATUS: end.status})
