"""What is counted of every record: how many, how long each took, how many became dead letters."""

from __future__ import annotations

from opentelemetry import metrics

from shared.consumer.record import ConsumedRecord
from shared.errors import DeadLetterError
from shared.telemetry import metric_names, names

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


def count_record(record: ConsumedRecord, group: str, seconds: float, error: DeadLetterError | None) -> None:
    """Count a record that is done with; `error` if it became a dead letter."""
    attributes = {names.MESSAGING_DESTINATION_NAME: record.topic, names.MESSAGING_CONSUMER_GROUP_NAME: group}
    _consumed.add(1, attributes)
    if error is None:
        _duration.record(seconds, attributes)
        return
    _duration.record(seconds, {**attributes, names.ERROR_TYPE: error.error_type})
    _dead_letters.add(1, {names.MESSAGING_DESTINATION_NAME: record.topic, names.ERROR_TYPE: error.error_type})
