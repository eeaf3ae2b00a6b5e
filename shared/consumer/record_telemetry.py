"""The span and the counts of each record. A span's parent is in the record's own headers, never in the batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind

from eldermesh.contract.tenants import is_job_inbox
from eldermesh.contract.topics import JOBS
from shared.consumer.record import ConsumedRecord
from shared.errors import DeadLetterError
from shared.telemetry import metric_names, names
from shared.telemetry.ids import root_trace
from shared.telemetry.propagation import extract, has_parent
from shared.telemetry.spans import fail_span, failures_told, tracer

_meter = metrics.get_meter("eldermesh")
_consumed = _meter.create_counter(
    metric_names.RECORDS_CONSUMED.name, metric_names.RECORDS_CONSUMED.unit, metric_names.RECORDS_CONSUMED.meaning
)
_duration = _meter.create_histogram(
    metric_names.RECORD_DURATION.name, metric_names.RECORD_DURATION.unit, metric_names.RECORD_DURATION.meaning
)
_dead_letters = _meter.create_counter(
    metric_names.DEAD_LETTERS.name, metric_names.DEAD_LETTERS.unit, metric_names.DEAD_LETTERS.meaning
)


@contextmanager
def process_span(record: ConsumedRecord, *, group: str, root_trace_id: str | None, start_ns: int) -> Iterator[Span]:
    """The current span while a record is processed: `process {inbox}`, for inboxes of tenants `process jobs`.

    Its parent is the record's trace context. Without one it begins a trace, whose id is `root_trace_id` if given.
    `start_ns` (since 1970) is when the work on the record began, which is before its trace was known.
    """
    parent = extract(record.headers)
    with nullcontext() if root_trace_id is None or has_parent(parent) else root_trace(root_trace_id):
        span = tracer.start_span(
            f"process {JOBS if is_job_inbox(record.inbox) else record.inbox}",
            context=parent,
            kind=SpanKind.CONSUMER,
            start_time=start_ns,
            attributes={
                names.MESSAGING_SYSTEM: names.KAFKA,
                names.MESSAGING_OPERATION_TYPE: "process",
                names.MESSAGING_OPERATION_NAME: "process",
                names.MESSAGING_DESTINATION_NAME: record.topic,
                names.MESSAGING_DESTINATION_PARTITION_ID: str(record.partition),
                names.MESSAGING_CONSUMER_GROUP_NAME: group,
                names.MESSAGING_KAFKA_OFFSET: record.offset,
                names.MESSAGING_MESSAGE_BODY_SIZE: len(record.value or b""),
            },
        )
    with (
        trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False),
        failures_told(span),
    ):
        yield span


def note_dead_letter(span: Span, error: DeadLetterError) -> None:
    """Say on a record's span why it became a dead letter."""
    span.set_attribute(names.ERROR_TYPE, error.error_type)
    if error.job_id is not None:
        span.set_attribute(names.JOB_ID, error.job_id)
    fail_span(span, error.reason)


def count_record(record: ConsumedRecord, group: str, seconds: float, error: DeadLetterError | None) -> None:
    """Count a record that is done with; `error` if it became a dead letter."""
    attributes = {names.MESSAGING_DESTINATION_NAME: record.topic, names.MESSAGING_CONSUMER_GROUP_NAME: group}
    _consumed.add(1, attributes)
    if error is None:
        _duration.record(seconds, attributes)
        return
    _duration.record(seconds, {**attributes, names.ERROR_TYPE: error.error_type})
    _dead_letters.add(1, {names.MESSAGING_DESTINATION_NAME: record.topic, names.ERROR_TYPE: error.error_type})
