"""What a claimed run of a notification does: says that it begins, sends, says what came of it."""

from __future__ import annotations

import asyncio
import logging

from opentelemetry.trace import Span

from services.notifier.channels.sender import Message, Never, NotNow, SendOutcome, Sent
from services.notifier.notifications.backoff import pause_ms
from services.notifier.notifications.runner_parts import SendRunnerParts, SendTask
from shared.errors import RetryableError
from shared.facts.fact import Fact
from shared.facts.notifications import (
    NotificationFailed,
    NotificationInterrupted,
    NotificationPostponed,
    NotificationSending,
    NotificationSent,
)
from shared.history.runs.claimed_run import INTERRUPTED_SECONDS, ClaimedRun, ResultUntoldError, Stopped
from shared.history.runs.lease import Lease
from shared.history.runs.run_facts import RunFacts
from shared.logs.exceptions import ends_the_task
from shared.telemetry import names
from shared.telemetry.spans import fail_span

_log = logging.getLogger(__name__)


class SendRun:
    """From the claim to the claim's end.

    Args:
        parts: what it works with.
        task: what was claimed.
        lease: of the claim.
        run_span: told how it went.
        stopping: set when this process stops.
    """

    def __init__(
        self, parts: SendRunnerParts, task: SendTask, lease: Lease, run_span: Span, stopping: asyncio.Event
    ) -> None:
        self._parts = parts
        self._task = task
        self._lease = lease
        self._span = run_span
        self._stopping = stopping
        planned = task.planned
        self._facts = RunFacts(
            parts.facts,
            parts.clock,
            task.topic,
            task.partition,
            task.notification_id,
            planned.traceparent,
            planned.tracestate,
        )

    async def run(self) -> str:
        """Send, and append what came of it. Returns that in one word.

        Raises:
            RetryableError: Kafka did not answer for long. The claim then dies by its lease.
        """
        whose = f"notification {self._task.notification_id}"
        word = await ClaimedRun(self, self._lease, self._stopping, whose=whose).run()
        return word.reason if isinstance(word, Stopped) else word

    async def flush(self) -> None:
        """Nothing goes on beside a send; see `RunWork`."""
        await asyncio.Event().wait()

    def kill(self) -> None:
        """A send is broken off by cancelling it; see `RunWork`."""

    async def interrupted(self) -> None:
        """Say it; see `RunWork`."""
        fact = NotificationInterrupted(epoch=self._task.chunk.epoch, worker_id=self._parts.worker_id)
        await self._facts.append(fact, patience_seconds=INTERRUPTED_SECONDS)

    async def work(self) -> str:
        """Say that it begins, send, say how it went; see `RunWork`."""
        sending = NotificationSending(
            epoch=self._task.chunk.epoch, attempt=self._task.attempt, worker_id=self._parts.worker_id
        )
        await self._facts.append(sending, patience_seconds=self._parts.patience_seconds)
        outcome = await self._outcome()
        fact, word = self._told(outcome)
        self._span.set_attribute(names.NOTIFICATION_OUTCOME, word)
        if not isinstance(outcome, Sent):
            self._span.set_attribute(names.REASON, outcome.reason)
            fail_span(self._span, outcome.reason)
        try:
            await self._facts.append(fact, patience_seconds=self._parts.patience_seconds)
        except RetryableError as error:  # given back, the message would go out again and again
            raise ResultUntoldError(str(error)) from error
        return word

    async def _outcome(self) -> SendOutcome:
        sender = self._parts.senders.get(self._task.planned.channel)
        if sender is None:
            return Never("the rules file has no such channel any more")
        message = Message.of(self._task.notification_id, self._task.planned)
        self._lease.check()
        try:
            return await sender.send(message)
        except BaseException as error:
            if ends_the_task(error):
                raise
            # Our own failure, or that of a library, concerns this message alone, and is bounded.
            _log.exception("notification %s: its sending failed", self._task.notification_id)
            return NotNow(f"internal: {type(error).__name__}")

    def _told(self, outcome: SendOutcome) -> tuple[Fact, str]:
        epoch, attempt, worker_id = self._task.chunk.epoch, self._task.attempt, self._parts.worker_id
        match outcome:
            case Sent():
                detail = outcome.detail
                return NotificationSent(epoch=epoch, attempt=attempt, worker_id=worker_id, detail=detail), "sent"
            case Never():
                return NotificationFailed(worker_id=worker_id, reason=outcome.reason), "failed"
            case NotNow():
                pause = pause_ms(
                    attempt,
                    first_ms=round(self._parts.settings.notify_retry_seconds * 1000),
                    asked_ms=outcome.after_ms,
                    chance=self._parts.chance(),
                )
                until = self._parts.clock.now_ms() + pause
                fact = NotificationPostponed(
                    epoch=epoch, attempt=attempt, worker_id=worker_id, until=until, reason=outcome.reason
                )
                return fact, "postponed"
