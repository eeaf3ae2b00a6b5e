"""What the owners of notifications tell telemetry."""

from __future__ import annotations

from opentelemetry import metrics

from services.notifier.notifications.state import NotificationState
from shared.logs.setup import get_logger
from shared.telemetry import metric_names, names

_log = get_logger(__name__)


class NotificationObserver:
    """`Observer[NotificationState]`.

    Args:
        history_topic: full name of `notifications`.
    """

    def __init__(self, history_topic: str) -> None:
        meter = metrics.get_meter(__name__)
        self._topic = {names.MESSAGING_DESTINATION_NAME: history_topic}
        self._facts = meter.create_counter(metric_names.FACTS_FOLDED.name, metric_names.FACTS_FOLDED.unit)
        self._batches = meter.create_histogram(
            metric_names.OWNER_BATCH_DURATION.name, metric_names.OWNER_BATCH_DURATION.unit
        )
        self._lost = meter.create_counter(metric_names.OWNERSHIPS_LOST.name, metric_names.OWNERSHIPS_LOST.unit)
        self._failed = meter.create_counter(
            metric_names.NOTIFICATIONS_FAILED.name, metric_names.NOTIFICATIONS_FAILED.unit
        )

    def folded(self, facts: int, seconds: float) -> None:
        """Count a batch."""
        self._facts.add(facts, self._topic)
        self._batches.record(seconds, self._topic)

    def published_end(self, state: NotificationState) -> None:
        """Count and log a dead letter."""
        if state.planned is None or state.end is None:
            return
        self._failed.add(1, {names.NOTIFICATION_CHANNEL: state.planned.channel})
        _log.warning(
            "nobody was told",
            job_id=state.planned.job_id,
            rule=state.planned.rule,
            channel=state.planned.channel,
            reason=state.end.reason,
        )

    def lost(self) -> None:
        """Count a lost ownership."""
        self._lost.add(1, self._topic)
