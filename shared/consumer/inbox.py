"""Inboxes: subscriptions read at least once with FastStream, drained on stop and revocation, watched meanwhile."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from faststream.middlewares import AckPolicy

from eldermesh.kafka.errors import KafkaUnavailableError, translate_errors
from shared.consumer.alarm import DeadLetterAlarm
from shared.consumer.batch import BATCH_SECONDS, CONCURRENCY, MAX_RECORDS, BatchRunner
from shared.consumer.client import require_codecs
from shared.consumer.dead_letter import DeadLetterPublisher
from shared.consumer.handler import Subscription
from shared.consumer.inbox_broker import InboxBroker, keep_message, parse_any_headers, require_ack_policies
from shared.consumer.reader import InboxReader
from shared.consumer.record_processor import RecordProcessor
from shared.errors import StopServiceError
from shared.kafka.clients import FETCH_WAIT_MS, group_times
from shared.kafka.connecting import not_connected
from shared.kafka.service_producer import Producer
from shared.logs.exceptions import told
from shared.logs.setup import get_logger
from shared.settings import Settings

_BATCH_TIMEOUT_MS = 1
"""FastStream's sleep after an empty poll; `InboxClient` decides how long a poll waits."""
_WATCH_SECONDS = 0.5
_POLL_GRACE_SECONDS = 30.0
_STOP_SECONDS = 10.0
"""Beyond the drain: for leaving the groups and closing connections."""

_log = get_logger(__name__)


class DeadLoopError(StopServiceError):
    """A consumer task ended, or did not poll for too long, though nobody stopped it."""


class InboxConsumer:
    """Reads subscriptions, each in a consumer group: at least once, concurrently, never stopped by bad input.

    A batch is committed when each of its records was handled or stands in the dead-letter topic. `RetryableError`
    rewinds it after some retries. A failure of our own stops the whole consumer and makes it fail `is_alive`.

    Args:
        settings: where the broker is, and its profile.
        subscriptions: what is read, by whom.
        producer: for dead letters; it stays the caller's.
        concurrency: lanes that run at once, for each subscription.
        batch_seconds: longest that a batch takes, retries included.
    """

    def __init__(
        self,
        settings: Settings,
        subscriptions: Sequence[Subscription],
        producer: Producer,
        *,
        concurrency: int = CONCURRENCY,
        batch_seconds: float = BATCH_SECONDS,
    ) -> None:
        self._settings = settings
        self._drain_seconds = settings.drain_seconds
        self._patience_seconds = group_times(settings).rebalance_ms / 1000 + _POLL_GRACE_SECONDS
        self._watch: asyncio.Task[None] | None = None
        self._is_closed = False
        self._wake = asyncio.Event()
        self._stopped = asyncio.Event()
        self.failure: StopServiceError | None = None
        self.broker = InboxBroker(settings)
        dead_letters = DeadLetterPublisher(producer, settings)
        self._readers = [
            self._subscribe(subscription, dead_letters, concurrency, batch_seconds) for subscription in subscriptions
        ]

    def _subscribe(
        self, subscription: Subscription, dead_letters: DeadLetterPublisher, concurrency: int, batch_seconds: float
    ) -> InboxReader:
        settings = self._settings
        alarm = DeadLetterAlarm(settings.topic(subscription.topic))
        processor = RecordProcessor(subscription, dead_letters, alarm)
        runner = BatchRunner(processor, seconds=batch_seconds, concurrency=concurrency, brake=subscription.brake)
        reader = InboxReader(subscription, runner, alarm, settings, self._wake)
        times = group_times(settings)
        if subscription.ranking is not None:
            self.broker.ranked[settings.topic(subscription.group)] = subscription
        subscriber = self.broker.subscriber(
            settings.topic(subscription.topic),
            batch=True,
            max_records=MAX_RECORDS,
            batch_timeout_ms=_BATCH_TIMEOUT_MS,
            group_id=settings.topic(subscription.group),
            ack_policy=AckPolicy.NACK_ON_ERROR,
            auto_offset_reset="earliest",
            parser=parse_any_headers,
            decoder=keep_message,
            listener=reader,
            no_reply=True,
            title=f"{subscription.topic}:{type(subscription.handler).__name__}",
            description=_described(subscription, settings),
            fetch_max_wait_ms=FETCH_WAIT_MS[settings.broker_profile],
            max_partition_fetch_bytes=4 * 1024 * 1024,
            session_timeout_ms=times.session_ms,
            heartbeat_interval_ms=times.heartbeat_ms,
            rebalance_timeout_ms=times.rebalance_ms,
            max_poll_interval_ms=300_000,
        )

        async def handle(batch: Any) -> None:
            await reader.on_batch(batch)

        # For AsyncAPI: nothing is cast to it, each record is judged on its own.
        handle.__annotations__["batch"] = subscription.payload
        subscriber(handle)
        reader.subscriber = subscriber
        return reader

    async def start(self) -> None:
        """Join the groups and read until `stop`.

        Raises:
            ConfigurationError: a subscriber could lose records, a codec is missing, or the broker refuses this client.
            RetryableError: the broker does not answer.
        """
        require_codecs()
        require_ack_policies(self.broker)
        try:
            # It waits until the groups have let us in, and so for members that finish a batch first.
            async with asyncio.timeout(self._patience_seconds):
                with translate_errors():  # what `InboxClient` raises
                    await self.broker.start()
        except (KafkaUnavailableError, TimeoutError) as error:
            await self._close()
            raise not_connected(self._settings, error) from error
        except BaseException:
            await self._close()
            raise
        self._watch = asyncio.create_task(self._watch_over(), name="inbox watch")
        self._watch.add_done_callback(self._watch_ended)

    async def stop(self) -> None:
        """Drain: finish and commit the batches at hand, leave the groups. Harmless if stopped already."""
        if self._watch is not None:
            if self.failure is None:
                self._watch.cancel()  # else it is closing, in order
            (outcome,) = await asyncio.gather(self._watch, return_exceptions=True)
            if isinstance(outcome, Exception):
                _log.error("the watch over the consumer failed", error=told(outcome), exc_info=outcome)
            self._watch = None
        await self._close()

    def is_alive(self) -> bool:
        """Whether every subscription is being read."""
        return self.trouble is None

    @property
    def trouble(self) -> str | None:
        """Why a subscription is not read: its loop has ended, it has not polled recently, or a brake was pulled."""
        failure = self.failure or self._find_failure()
        if failure is not None:
            return told(failure)
        return "nobody watches over the consumer" if self._watch is None or self._watch.done() else None

    async def wait_failed(self) -> StopServiceError:
        """Wait, without a limit, until the consumer stopped by itself, and return why."""
        await self._stopped.wait()
        if self.failure is None:
            raise RuntimeError("the consumer was stopped in order")
        return self.failure

    async def _watch_over(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_SECONDS):
                    await self._wake.wait()
            for reader in self._readers:
                reader.alarm.speak()
            failure = self._find_failure()
            if failure is not None:
                self.failure = failure
                _log.error("consumer stops itself", error=told(failure), exc_info=failure)
                self._stopped.set()  # whoever waits for it need not wait for the drain
                await self._close()
                return

    def _watch_ended(self, watch: asyncio.Task[None]) -> None:
        """Without a watch nobody would see what fails: that alone is a failure."""
        error = None if watch.cancelled() else watch.exception()
        if error is not None and self.failure is None:
            self.failure = DeadLoopError(f"the watch over the consumer has ended: {told(error)}")
            self._stopped.set()

    def _find_failure(self) -> StopServiceError | None:
        for reader in self._readers:
            if reader.failure is not None:
                return reader.failure
            # FastStream restarts a loop that raised, and keeps the dead task in the list; a cancelled one it forgets.
            if all(task.done() for task in reader.subscriber.tasks):
                return DeadLoopError(f"the consume loop of {reader.name} has ended")
            silent = time.monotonic() - reader.subscriber.consumer.polled_at
            if silent > self._patience_seconds:
                return DeadLoopError(f"{reader.name} has not polled successfully for {silent:.0f} s")
        return None

    async def _close(self) -> None:
        """Only once: what could not be closed in time would not be closed the next time either."""
        if self._is_closed:
            return
        try:
            async with asyncio.timeout(self._drain_seconds + _STOP_SECONDS):
                for reader in self._readers:
                    reader.runner.giving_up.set()
                await self.broker.stop()
            self._is_closed = True
        except TimeoutError:
            self._is_closed = True
            raise
        finally:
            self._stopped.set()


def _described(subscription: Subscription, settings: Settings) -> str:
    """What the AsyncAPI document of the service says of it."""
    group = settings.topic(subscription.group)
    return f"{inspect.getdoc(type(subscription.handler))}\n\nConsumer group: {group}"
