"""A claimed run of a notification: append that it begins, send, append the outcome."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from opentelemetry.trace import Span

from services.notifier.channels.sender import Message, Never, NotNow, Sender, SendOutcome, Sent
from shared.errors import RetryableError
from shared.facts.fact import Fact
from shared.facts.notifications import (
    NotificationFailed,
    NotificationInterrupted,
    NotificationPlanned,
    NotificationPostponed,
    NotificationSending,
    NotificationSent,
)
from shared.history.chunk_id import ChunkId
from shared.history.clock import Clock, SystemClock
from shared.history.fact_appender import FactSink
from shared.history.runs.claimed_run import INTERRUPTED_SECONDS, ClaimedRun, ResultUntoldError, Stopped
from shared.history.runs.claims import ClaimStore
from shared.history.runs.lease import Lease
from shared.history.runs.run_facts import RunFacts
from shared.logs.exceptions import ends_the_task
from shared.settings import Settings
from shared.telemetry import names
from shared.telemetry.spans import fail_span

LONGEST_MS = 3_600_000
"""Longest pause of the back-off; a channel may ask for a longer one."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRunnerParts:
    """The parts of a runner.

    Attributes:
        settings: lease, heartbeat, back-off.
        worker_id: id of the sender in claims and facts; without spaces.
        claims: of `notifications`.
        facts: appends records to any topic.
        senders: by the channel's name.
        clock: wall time for facts, monotonic time for the lease.
        chance: random number of the back-off's jitter, 0 to 1.
        patience_seconds: how long a run with a claim retries Kafka.
    """

    settings: Settings
    worker_id: str
    claims: ClaimStore
    facts: FactSink
    senders: Mapping[str, Sender]
    clock: Clock = field(default_factory=SystemClock)
    chance: Callable[[], float] = random.random
    patience_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class SendTask:
    """A notification to send; `topic` is the history's full name, `attempt` counts sends from 1."""

    topic: str
    partition: int
    chunk: ChunkId
    attempt: int
    planned: NotificationPlanned

    @property
    def notification_id(self) -> str:
        """Id of the notification."""
        return self.chunk.job_id


class SendRun:
    """From the claim to the claim's end.

    Args:
        parts: what it works with.
        task: what was claimed.
        lease: of the claim.
        run_span: gets the outcome.
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
        """Send, and append the outcome. Return the outcome in one word.

        Raises:
            RetryableError: Kafka did not answer within the patience. The claim then ends with its lease.
        """
        whose = f"notification {self._task.notification_id}"
        word = await ClaimedRun(self, self._lease, self._stopping, whose=whose).run()
        return word.reason if isinstance(word, Stopped) else word

    async def flush(self) -> None:
        """There is nothing to flush during a send; see `RunWork`."""
        await asyncio.Event().wait()

    def kill(self) -> None:
        """Nothing: cancelling a send ends it; see `RunWork`."""

    async def interrupted(self) -> None:
        """Append that the run was interrupted; see `RunWork`."""
        fact = NotificationInterrupted(epoch=self._task.chunk.epoch, worker_id=self._parts.worker_id)
        await self._facts.append(fact, patience_seconds=INTERRUPTED_SECONDS)

    async def work(self) -> str:
        """Append that the send begins, send, append the outcome; see `RunWork`."""
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
        except RetryableError as error:  # if the claim were given back, the message would be sent again and again
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
            # An internal error fails this attempt only; attempts are limited.
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


def pause_ms(attempt: int, *, first_ms: int, asked_ms: int | None, chance: float) -> int:
    """Milliseconds to wait after the attempt with this number, counted from 1.

    Exponential back-off with full jitter: `chance` (0 to 1) of `first_ms`, which doubles with each attempt up to
    `LONGEST_MS`. The pause that the channel asked for is added.
    """
    longest = min(LONGEST_MS, first_ms << min(attempt - 1, 30))
    return round(longest * chance) + (asked_ms or 0)
