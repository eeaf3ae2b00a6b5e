"""What the owners of all histories count: folded facts, the time of a batch, lost ownerships."""

from __future__ import annotations

from opentelemetry.metrics import Meter

from shared.telemetry import metric_names, names


class OwnerMetrics:
    """The part of an `Observer` that needs nothing of the state.

    Args:
        meter: makes the instruments.
        history_topic: full name of the history, an attribute of each measurement.
    """

    def __init__(self, meter: Meter, history_topic: str) -> None:
        self._topic = {names.MESSAGING_DESTINATION_NAME: history_topic}
        self._facts = meter.create_counter(metric_names.FACTS_FOLDED.name, metric_names.FACTS_FOLDED.unit)
        self._batches = meter.create_histogram(
            metric_names.OWNER_BATCH_DURATION.name, metric_names.OWNER_BATCH_DURATION.unit
        )
        self._lost = meter.create_counter(metric_names.OWNERSHIPS_LOST.name, metric_names.OWNERSHIPS_LOST.unit)

    def folded(self, facts: int, seconds: float) -> None:
        """Count a batch and measure its time in seconds."""
        self._facts.add(facts, self._topic)
        self._batches.record(seconds, self._topic)

    def lost(self) -> None:
        """Count a lost ownership."""
        self._lost.add(1, self._topic)
