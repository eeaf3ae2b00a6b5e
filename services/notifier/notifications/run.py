"""One run of one claimed notification: the lease and the send side by side; whatever ends first ends the other."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from opentelemetry.trace import Span

from services.notifier.channels.sender import Message, Never, NotNow, SendOutcome, Sent
from services.notifier.notifications.backoff import pause_ms
from services.notifier.notifications.runner_parts import SendPorts, SendTask
from shared.errors import RetryableError
from shared.facts.jobs import Fact
from shared.facts.notifications import (
    NotificationFailed,
    NotificationInterrupted,
    NotificationPostponed,
    NotificationSending,
    NotificationSent,
)
from shared.history.facts import fact_headers
from shared.history.runs.lease import SUSPENDED, Lease, LeaseLostError
from shared.history.runs.run_end import end_run
from shared.logs.exceptions import ends_the_task
from shared.retry.patience import with_patience
from shared.telemetry import names
from shared.telemetry.spans import fail_span

_INTERRUPTED_SECONDS = 5.0
"""How long a run that was stopped tries to say that nobody died."""

INTERRUPTED = "interrupted"

_log = logging.getLogger(__name__)


class SendRun:
    """From the claim to the claim's end.

    Args:
        ports: what it works with.
        task: what was claimed.
        lease: of the claim.
        run_span: told how it went.
        stopping: set when this process stops.
    """

    def __init__(self, ports: SendPorts, task: SendTask, lease: Lease, run_span: Span, stopping: asyncio.Event) -> None:
        self._ports = ports
        self._task = task
        self._lease = lease
        self._span = run_span
        self._stopping = stopping

    async def run(self) -> str:
        """Send, and append what came of it. Returns that in one word.

        Raises:
            RetryableError: Kafka did not answer for long. The claim then dies by its lease.
        """
        working = asyncio.create_task(self._work())
        keeping = asyncio.create_task(self._lease.keep())
        stopping = asyncio.create_task(self._stopping.wait())
        tasks: set[asyncio.Task[Any]] = {working, keeping, stopping}
        reason = INTERRUPTED
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                word = working.result()
                await self._finish()
                return word
            if keeping.done():
                reason = keeping.result().reason
        except LeaseLostError as lost:  # before it was sent
            reason = lost.reason
        finally:
            await end_run({working, stopping}, keeping)
        # What another run has begun meanwhile must not be given back.
        if reason == SUSPENDED and await self._lease.is_still_held(_INTERRUPTED_SECONDS):
            reason = INTERRUPTED
        if reason == INTERRUPTED:
            await self._interrupted()
        return reason

    async def _work(self) -> str:
        """Say that it begins, send, say how it went."""
        sending = NotificationSending(
            epoch=self._task.chunk.epoch, attempt=self._task.attempt, worker_id=self._ports.worker_id
        )
        await self._append(sending, self._ports.patience_seconds)
        outcome = await self._outcome()
        fact, word = self._told(outcome)
        self._span.set_attribute(names.NOTIFICATION_OUTCOME, word)
        if not isinstance(outcome, Sent):
            self._span.set_attribute(names.REASON, outcome.reason)
            fail_span(self._span, outcome.reason)
        await self._append(fact, self._ports.patience_seconds)
        return word

    async def _outcome(self) -> SendOutcome:
        sender = self._ports.senders.get(self._task.planned.channel)
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
        epoch, attempt, worker_id = self._task.chunk.epoch, self._task.attempt, self._ports.worker_id
        match outcome:
            case Sent():
                detail = outcome.detail
                return NotificationSent(epoch=epoch, attempt=attempt, worker_id=worker_id, detail=detail), "sent"
            case Never():
                return NotificationFailed(worker_id=worker_id, reason=outcome.reason), "failed"
            case NotNow():
                pause = pause_ms(
                    attempt,
                    first_ms=round(self._ports.settings.notify_retry_seconds * 1000),
                    asked_ms=outcome.after_ms,
                    chance=self._ports.chance(),
                )
                until = self._ports.clock.now_ms() + pause
                fact = NotificationPostponed(
                    epoch=epoch, attempt=attempt, worker_id=worker_id, until=until, reason=outcome.reason
                )
                return fact, "postponed"

    async def _finish(self) -> None:
        try:
            await self._lease.finish()
        except LeaseLostError as lost:  # the outcome is in, which is all that matters to the owner
            _log.warning("notification %s: %s", self._task.notification_id, lost)

    async def _interrupted(self) -> None:
        fact = NotificationInterrupted(epoch=self._task.chunk.epoch, worker_id=self._ports.worker_id)
        try:
            await self._append(fact, _INTERRUPTED_SECONDS)
        except RetryableError as error:
            _log.warning("notification %s counts as a death: %s", self._task.notification_id, error)

    async def _append(self, fact: Fact, patience_seconds: float) -> None:
        task, planned = self._task, self._task.planned
        headers = fact_headers(fact.fact_type, task.notification_id, planned.traceparent, planned.tracestate)
        append = partial(
            self._ports.facts.append,
            task.topic,
            task.partition,
            key=task.notification_id,
            value=fact.encode(),
            headers=headers,
        )
        await with_patience(append, seconds=patience_seconds, clock=self._ports.clock)
