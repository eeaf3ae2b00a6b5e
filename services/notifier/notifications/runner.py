"""Sends notifications in this process: a few at once on each channel, each under a claim."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence

from opentelemetry import metrics

from services.notifier.channels.sender import SEND_SECONDS
from services.notifier.notifications.run import SendRun, SendRunnerParts, SendTask
from services.notifier.notifications.state import NotificationState
from shared.history.machine import DispatchDue
from shared.history.owner_parts import Rank
from shared.history.runs.lease import Lease
from shared.history.runs.slots import SlotRunner
from shared.kafka.topics import NOTIFICATIONS
from shared.settings import Settings
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import span

SLOTS = 4
"""Sends that run at once on one channel; each channel has its own slots."""

_log = logging.getLogger(__name__)


def claim_timeout_of(settings: Settings) -> float:
    """After how many seconds without a claim an owner dispatches a notification again.

    At least as long as two sends, because a send may have to wait for a slot.
    """
    return max(settings.claim_timeout_seconds, 2 * SEND_SECONDS)


class SendRunner(SlotRunner[SendTask]):
    """The slots of each channel, and the `Dispatcher[NotificationState]` that fills them.

    Args:
        parts: what runs work with.
    """

    def __init__(self, parts: SendRunnerParts) -> None:
        super().__init__(
            "notification",
            parts.claims,
            worker_id=parts.worker_id,
            settings=parts.settings,
            clock=parts.clock,
            claim_timeout_seconds=claim_timeout_of(parts.settings),
        )
        self._parts = parts
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(SLOTS))
        self._attempts = metrics.get_meter(__name__).create_counter(
            metric_names.NOTIFICATION_ATTEMPTS.name, metric_names.NOTIFICATION_ATTEMPTS.unit
        )

    def rank(self, state: NotificationState) -> Rank:
        """First come, first served."""
        return Rank(0, state.first_offset)

    async def dispatch(self, partition: int, chunks: Sequence[tuple[NotificationState, DispatchDue]]) -> None:
        """Take notifications that are due."""
        topic = self._parts.settings.topic(NOTIFICATIONS)
        for state, due in chunks:
            if state.planned is not None:
                self.take(SendTask(topic, partition, due.chunk, state.attempts + 1, state.planned))

    def slots(self, task: SendTask) -> asyncio.Semaphore:
        """Each channel has its own."""
        return self._slots[task.planned.channel]

    def job_id(self, task: SendTask) -> str:
        """The job that the message is about."""
        return task.planned.job_id

    async def run(self, task: SendTask, lease: Lease) -> None:
        """Send the message.

        Raises:
            RetryableError: the run ends; its claim ends with its lease.
        """
        planned = task.planned
        attributes: dict[str, str | int] = {
            names.JOB_ID: planned.job_id,
            names.NOTIFICATION_ID: task.notification_id,
            names.NOTIFICATION_CHANNEL: planned.channel,
            names.NOTIFICATION_ATTEMPT: task.attempt,
        }
        parent = context_from(planned.traceparent, planned.tracestate)
        with span(names.SEND_NOTIFICATION, context=parent, attributes=attributes) as run_span:
            word = await SendRun(self._parts, task, lease, run_span, self.stopping).run()
        self._attempts.add(1, {names.NOTIFICATION_CHANNEL: planned.channel, names.NOTIFICATION_OUTCOME: word})
        if word != "sent":
            _log.info("notification %s on %s: %s", task.notification_id, planned.channel, word)
