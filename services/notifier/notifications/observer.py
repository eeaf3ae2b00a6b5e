"""Telemetry of the owners of notifications."""

from __future__ import annotations

from opentelemetry import metrics

from services.notifier.notifications.state import NotificationState
from shared.history.owner_parts import OwnerMetrics
from shared.logs.setup import get_logger
from shared.telemetry import metric_names, names

_log = get_logger(__name__)


class NotificationObserver(OwnerMetrics):
    """`Observer[NotificationState]`.

    Args:
        history_topic: full name of `notifications`.
    """

    def __init__(self, history_topic: str) -> None:
        meter = metrics.get_meter(__name__)
        super().__init__(meter, history_topic)
        self._failed = meter.create_counter(
            metric_names.NOTIFICATIONS_FAILED.name, metric_names.NOTIFICATIONS_FAILED.unit
        )

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
