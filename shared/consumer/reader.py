"""One subscription being read: its FastStream subscriber, and what happens to its batches."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import ConsumerRebalanceListener

from shared.consumer.alarm import DeadLetterAlarm
from shared.consumer.batch import BatchRunner
from shared.consumer.handler import Subscription
from shared.consumer.record import ConsumedRecord
from shared.errors import StopServiceError
from shared.kafka.clients import group_times
from shared.logs.exceptions import told
from shared.logs.setup import get_logger
from shared.settings import Settings

COMMIT_SECONDS = 4.0
"""The client library tries a commit again for ever; after this it counts as failed and the batch is rewound."""

_log = get_logger(__name__)


class InboxReader(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Processes and commits the batches of one subscription, and finishes the one at hand before partitions move.

    Args:
        subscription: what is read, by whom.
        runner: what runs a batch.
        alarm: what watches the topic's dead letters.
        settings: the prefix of topics, and the broker's profile.
        wake: set when this reader has failed.
    """

    def __init__(
        self,
        subscription: Subscription,
        runner: BatchRunner,
        alarm: DeadLetterAlarm,
        settings: Settings,
        wake: asyncio.Event,
    ) -> None:
        self.name = f"{subscription.group} of {subscription.topic}"
        self.runner = runner
        self.alarm = alarm
        self.failure: StopServiceError | None = None
        self.subscriber: Any = None
        self._prefix = settings.topic_prefix
        self._drain_seconds = 0.8 * group_times(settings).rebalance_ms / 1000
        self._wake = wake
        self._idle = asyncio.Event()
        self._idle.set()

    async def on_batch(self, message: Any) -> None:
        """Process a batch and commit it. What this raises makes FastStream rewind the batch."""
        if self.failure is not None:
            raise self.failure
        self._idle.clear()
        try:
            records = [ConsumedRecord.of(raw, prefix=self._prefix) for raw in message.raw_message]
            await self.runner.run(records)
            async with asyncio.timeout(COMMIT_SECONDS):
                await message.ack()
            self.runner.committed(records)
        except StopServiceError as error:
            self.failure = error
            self._wake.set()
            raise
        except Exception as error:
            _log.warning("batch rewound", inbox=self.name, records=len(message.raw_message), error=told(error))
            raise
        finally:
            self._idle.set()

    async def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002 - the interface is aiokafka's
        """Called by aiokafka before it gives up partitions: the batch at hand is finished and committed first."""
        self.runner.giving_up.set()
        try:
            async with asyncio.timeout(self._drain_seconds):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("partitions are given up with a batch in flight; it will be repeated", inbox=self.name)
        # Whoever owns them next starts at what was committed; offsets may even begin anew (a broker that forgot).
        self.runner.forget()
        self.subscriber.consumer.forget()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Called by aiokafka when it has partitions again."""
        self.runner.giving_up.clear()
        _log.info("partitions assigned", inbox=self.name, partitions=sorted(each.partition for each in assigned))
