"""One record, from its bytes to its outcome: handled, a dead letter, to be tried again, or a failure of our own.

Whatever a record makes our code raise concerns that record alone, until many others fail alike (see `brake`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from opentelemetry import trace

from eldermesh.contract.ids import trace_id_of
from shared.consumer.alarm import DeadLetterAlarm
from shared.consumer.backoff import BatchTime
from shared.consumer.brake import BrakeError, OwnFailureError
from shared.consumer.dead_letter import DeadLetterPublisher
from shared.consumer.handler import Subscription
from shared.consumer.record import LARGE_BYTES, ConsumedRecord
from shared.consumer.record_telemetry import count_record, note_dead_letter, process_span
from shared.errors import DeadLetterError, RetryableError, StopServiceError
from shared.logs.exceptions import ends_the_task, told
from shared.logs.setup import get_logger

OutcomeT = TypeVar("OutcomeT")

OWN_FAILURE_ATTEMPTS = 3
"""How often a record is tried that makes our own code fail, before it is given up."""

_log = get_logger(__name__)


class RecordProcessor:
    """Processes the records of one subscription, each in a span of its own."""

    def __init__(self, subscription: Subscription, dead_letters: DeadLetterPublisher, alarm: DeadLetterAlarm) -> None:
        self._subscription = subscription
        self._handler = subscription.handler
        self._dead_letters = dead_letters
        self._alarm = alarm
        self._judging_large = asyncio.Semaphore(1)

    def passes_over(self, record: ConsumedRecord) -> bool:
        """Whether the record is not for the handler.

        Raises:
            OwnFailureError: our own code fails on it.
        """
        asked = self._subscription.passes_over
        try:
            return asked is not None and asked(record)
        except BaseException as failure:
            if ends_the_task(failure):
                raise
            raise OwnFailureError(record, failure) from failure

    async def process(self, record: ConsumedRecord, batch_time: BatchTime) -> bool:
        """Handle a record that is for the handler, or publish its dead letter; acknowledged when this returns.

        Returns whether the handler did its work: not for a dead letter, nor where there is nothing to do.

        Raises:
            RetryableError: it did not succeed within the batch's time.
            OwnFailureError: our own code fails on it.
        """
        try:
            return await self._process(record, batch_time)
        except (RetryableError, StopServiceError, OwnFailureError):
            raise
        except BaseException as failure:
            if ends_the_task(failure):
                raise
            raise OwnFailureError(record, failure) from failure

    async def give_up(self, failure: OwnFailureError, batch_time: BatchTime) -> None:
        """Publish the dead letter `internal` of a record that our own code failed on, and sound the alarm.

        Raises:
            RetryableError: not acknowledged within the batch's time.
            BrakeError: not even its dead letter can be published.
        """
        record, cause = failure.record, type(failure.cause).__name__
        refusal = DeadLetterError("internal", f"the mesh failed on this record: {cause}", job_id=failure.job_id)
        # Neither message nor traceback: they may quote the record.
        _log.error("our own code failed on a record", record=record.coordinates, error=cause, place=failure.place)
        started = time.perf_counter()
        try:
            await self._retried(record, partial(self._dead_letters.publish, record, refusal), batch_time)
        except OwnFailureError as error:
            # Perhaps by its headers, or its key.
            bare = dataclasses.replace(record, key=None, headers=())
            try:
                await self._retried(bare, partial(self._dead_letters.publish, bare, refusal), batch_time)
            except OwnFailureError as again:
                raise BrakeError(f"{record!r} can be neither handled nor dead-lettered: {again}") from error
        count_record(record, self._subscription.group, time.perf_counter() - started, refusal)
        self._alarm.refused(record, refusal)

    async def _process(self, record: ConsumedRecord, batch_time: BatchTime) -> bool:
        started_ns, started = time.time_ns(), time.perf_counter()
        decoded, refusal = await self._judge(record)
        if decoded is None and refusal is None:
            return False
        with process_span(
            record,
            group=self._subscription.group,
            root_trace_id=self._root_trace_id(decoded, refusal),
            start_ns=started_ns,
        ) as span:
            if refusal is None:
                job_id: str | None = getattr(decoded, "job_id", None)
                handle = partial(self._handle, record, decoded)
                refusal = await self._retried(record, handle, batch_time, job_id=job_id)
            if refusal is not None:
                note_dead_letter(span, refusal)
                await self._retried(record, partial(self._dead_letters.publish, record, refusal), batch_time)
        count_record(record, self._subscription.group, time.perf_counter() - started, refusal)
        if refusal is None:
            self._alarm.handled()
        else:
            self._alarm.refused(record, refusal)
        return refusal is None

    async def _judge(self, record: ConsumedRecord) -> tuple[object, DeadLetterError | None]:
        if record.size_bytes <= LARGE_BYTES:
            return self._decode(record)
        async with self._judging_large:  # one at a time: the largest takes up to a second
            return await asyncio.to_thread(self._decode, record)

    def _decode(self, record: ConsumedRecord) -> tuple[object, DeadLetterError | None]:
        if record.unreadable is not None:
            return None, DeadLetterError(record.unreadable.error_type, record.unreadable.reason)
        try:
            return self._handler.decode(record), None
        except DeadLetterError as refusal:
            return None, refusal
        except BaseException as error:
            # It is pure, so trying again would not help. A plug-in may call `sys.exit` or raise KeyboardInterrupt (the
            # real one goes to the loop's signal handler), a library in Rust may panic.
            raise OwnFailureError(record, error) from error

    def _root_trace_id(self, decoded: object, refusal: DeadLetterError | None) -> str | None:
        if refusal is None:
            return self._handler.root_trace_id(decoded)
        return None if refusal.job_id is None else trace_id_of(refusal.job_id)

    async def _handle(self, record: ConsumedRecord, decoded: object) -> DeadLetterError | None:
        try:
            await self._handler.handle(record, decoded)
        except DeadLetterError as refusal:
            return refusal
        return None

    async def _retried(
        self,
        record: ConsumedRecord,
        operation: Callable[[], Awaitable[OutcomeT]],
        batch_time: BatchTime,
        *,
        job_id: str | None = None,
    ) -> OutcomeT:
        attempt = own_failures = 0
        while True:
            attempt += 1
            failure: BaseException
            try:
                return await operation()
            except RetryableError as error:
                failure = error
            except StopServiceError:
                raise
            except BaseException as error:
                # Every other exception is a failure of our own, by definition. `sys.exit` or a panic below would end
                # the whole process, and the cancellation of a part the lane, as if all were done.
                if ends_the_task(error):
                    raise
                own_failures, failure = own_failures + 1, error
            if own_failures >= OWN_FAILURE_ATTEMPTS:
                raise OwnFailureError(record, failure, job_id=job_id) from failure
            trace.get_current_span().add_event("attempt failed", {"attempt": attempt, "error": told(failure)})
            if not await batch_time.pause(attempt):
                raise RetryableError(f"{record!r} was not done within the batch's time: {told(failure)}") from failure
