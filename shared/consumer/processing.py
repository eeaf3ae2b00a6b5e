"""One record, from its bytes to its outcome: handled, a dead letter, to be tried again, or a failure of our own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from opentelemetry import trace

from eldermesh.contract.ids import trace_id_of
from shared.consumer.alarm import DeadLetterAlarm
from shared.consumer.backoff import BatchTime
from shared.consumer.deadletter import DeadLetterPublisher
from shared.consumer.handler import Subscription
from shared.consumer.metering import count_record
from shared.consumer.record import ConsumedRecord
from shared.consumer.tracing import note_dead_letter, process_span
from shared.errors import DeadLetterError, RetryableError, StopServiceError

OutcomeT = TypeVar("OutcomeT")

OWN_FAILURE_ATTEMPTS = 3
"""How often a record is tried that makes our own code fail, before the consumer stops."""


class BrakeError(StopServiceError):
    """Our own code fails on a valid record: going on would lose or garble what follows. A person has to look."""


class RecordProcessor:
    """Processes the records of one subscription, each in a span of its own."""

    def __init__(self, subscription: Subscription, dead_letters: DeadLetterPublisher, alarm: DeadLetterAlarm) -> None:
        self._subscription = subscription
        self._handler = subscription.handler
        self._dead_letters = dead_letters
        self._alarm = alarm

    async def process(self, record: ConsumedRecord, batch_time: BatchTime) -> None:
        """Handle the record, or publish its dead letter; either is acknowledged when this returns.

        Raises:
            RetryableError: it did not succeed within the batch's time.
            BrakeError: our own code fails on it.
        """
        passes_over = self._subscription.passes_over
        if passes_over is not None and passes_over(record):
            return
        started_ns, started = time.time_ns(), time.perf_counter()
        decoded, refusal = self._decode(record)
        with process_span(
            record,
            group=self._subscription.group,
            root_trace_id=self._root_trace_id(decoded, refusal),
            start_ns=started_ns,
        ) as span:
            if refusal is None:
                refusal = await self._retried(record, partial(self._handle, record, decoded), batch_time)
            if refusal is not None:
                note_dead_letter(span, refusal)
                await self._retried(record, partial(self._dead_letters.publish, record, refusal), batch_time)
        count_record(record, self._subscription.group, time.perf_counter() - started, refusal)
        if refusal is None:
            self._alarm.handled()
        else:
            self._alarm.refused(record, refusal)

    def _decode(self, record: ConsumedRecord) -> tuple[object, DeadLetterError | None]:
        if record.unreadable is not None:
            return None, DeadLetterError("undecodable", record.unreadable)
        try:
            return self._handler.decode(record), None
        except DeadLetterError as refusal:
            return None, refusal
        except Exception as error:
            # It is pure, so trying again would not help.
            raise BrakeError(f"{record!r} of {self._subscription.group} cannot be decoded: {error!r}") from error

    def _root_trace_id(self, decoded: object, refusal: DeadLetterError | None) -> str | None:
        if refusal is None:
            return self._handler.root_trace_id(decoded)
        return None if refusal.job_id is None else trace_id_of(refusal.job_id)

    async def _handle(self, record: ConsumedRecord, decoded: object) -> DeadLetterError | None:
        try:
            await self._handler.handle(record, decoded)
        except DeadLetterError as refusal:
            return refusal
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something inside was cancelled, not we. Let out, it would end the lane as if all were done.
            raise RuntimeError("a part of the handler was cancelled") from error
        return None

    async def _retried(
        self, record: ConsumedRecord, operation: Callable[[], Awaitable[OutcomeT]], batch_time: BatchTime
    ) -> OutcomeT:
        attempt = own_failures = 0
        while True:
            attempt += 1
            failure: Exception
            try:
                return await operation()
            except RetryableError as error:
                failure = error
            except StopServiceError:
                raise
            except Exception as error:  # noqa: BLE001 - every other exception is a failure of our own, by definition
                own_failures, failure = own_failures + 1, error
            if own_failures >= OWN_FAILURE_ATTEMPTS:
                raise BrakeError(f"{record!r} of {self._subscription.group} fails: {failure!r}") from failure
            trace.get_current_span().add_event("attempt failed", {"attempt": attempt, "error": repr(failure)})
            if not await batch_time.pause(attempt):
                raise RetryableError(f"{record!r} was not done within the batch's time: {failure!r}") from failure
