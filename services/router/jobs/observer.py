"""Telemetry of the router's owners: spans of waits and ends, and metrics."""

from __future__ import annotations

import json

from opentelemetry import metrics
from opentelemetry.context import Context

from services.router.jobs.state import JobState, PastWait
from shared.history.clock import Clock
from shared.history.owner_parts import OwnerMetrics
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import record_span


class JobObserver(OwnerMetrics):
    """`Observer[JobState]`."""

    def __init__(self, history_topic: str, clock: Clock) -> None:
        self._clock = clock
        meter = metrics.get_meter(__name__)
        super().__init__(meter, history_topic)
        self._ends = meter.create_counter(metric_names.JOBS_ENDED.name, metric_names.JOBS_ENDED.unit)
        self._durations = meter.create_histogram(metric_names.JOB_DURATION.name, metric_names.JOB_DURATION.unit)

    def published_end(self, state: JobState) -> None:
        """Record the span of an end, from the deciding fact to the acknowledged record, and count it."""
        end, acceptance = state.end, state.acceptance
        if end is None or acceptance is None:
            return
        context = context_from(acceptance.traceparent, acceptance.tracestate)
        for wait in state.waits:
            _record_wait(state.job_id, wait, context)
        record_span(
            names.END_JOB,
            start_ms=end.at,
            end_ms=self._clock.now_ms(),
            context=context,
            attributes={names.JOB_ID: state.job_id, names.JOB_STATUS: end.status},
            error=None if end.status in ("completed", "cancelled") else end.status,
        )
        told = json.loads(end.value)  # the state of an ended job is compact: its terms are gone
        attributes = {names.JOB_STATUS: end.status, names.JOB_WORKLOAD: told["workload"]}
        self._ends.add(1, {**attributes, names.JOB_TENANT: told["tenant"]})
        if told["engine"] is not None:
            attributes[names.ENGINE] = told["engine"]
        self._durations.record((end.at - acceptance.at) / 1000, attributes)


def _record_wait(job_id: str, wait: PastWait, context: Context) -> None:
    """Record the span of a hold or pause when the job ends; its state remembers both."""
    attributes: dict[str, str | int] = {names.JOB_ID: job_id, names.REASON: wait.reason}
    if wait.outcome is not None:
        attributes[names.DECISION] = wait.outcome
    if wait.by is not None:
        attributes[names.DECIDED_BY] = wait.by
    kind = names.HOLD if wait.kind == "hold" else names.PAUSE
    record_span(kind, start_ms=wait.since, end_ms=wait.ended_at, context=context, attributes=attributes)
