"""The consumer that all others build on: starting and stopping leaves nothing behind, and no record makes it fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from eldermesh.kafka.errors import translate_errors
from eldermesh.kafka.lifecycle import START_SECONDS, start_whole, stop_whole
from eldermesh.kafka.unreadable import ReadableResults


class WholeConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's consumer; `start` and `stop` leave nothing behind. With a group, `start` may wait for a rebalance.

    In place of a record that cannot be read it gives an `UnreadableRecord`. Where Kafka does not answer, each method
    raises `KafkaUnavailableError`. A subclass for a library that expects aiokafka's errors replaces `errors`.
    """

    def __init__(self, *topics: str, rebalance_timeout_ms: int | None = None, **options: Any) -> None:
        super().__init__(*topics, rebalance_timeout_ms=rebalance_timeout_ms, **options)
        self._start_seconds = START_SECONDS + (rebalance_timeout_ms or 0) / 1000

    def errors(self) -> AbstractContextManager[None]:
        """What each call of aiokafka runs in."""
        return translate_errors()

    async def start(self) -> None:
        """Connect; where topics are subscribed to already, join the group.

        Raises:
            KafkaRefusedError: a broker refuses this client; it is closed.
            KafkaUnavailableError: not connected; the consumer is closed.
        """
        with self.errors():
            await start_whole(self, super().start, seconds=self._start_seconds)
        # What was fetched already has not been looked at.
        self._fetcher._records = ReadableResults(self._fetcher._records)  # noqa: SLF001 - there is no public place

    async def stop(self) -> None:
        """Leave the group and disconnect."""
        await stop_whole(self, super().stop)

    async def getmany(
        self, *partitions: Any, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[Any, list[Any]]:
        """Records by partition, waiting so long for the first one.

        Raises:
            OffsetOutsideLogError: the position of a partition is not in its log, and the consumer resets none.
        """
        with self.errors():
            records: dict[Any, list[Any]] = await super().getmany(
                *partitions, timeout_ms=timeout_ms, max_records=max_records
            )
        return records

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read the partition from this offset on."""
        with self.errors():
            super().seek(partition, offset)

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        """Read the partitions from what is kept of them."""
        with self.errors():
            await super().seek_to_beginning(*partitions)

    async def position(self, partition: TopicPartition) -> int:
        """Offset of the next record that `getmany` gives."""
        with self.errors():
            position: int = await super().position(partition)
        return position

    async def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        """Commit these offsets, or the positions."""
        with self.errors():
            await super().commit(offsets)

    async def committed(self, partition: TopicPartition) -> int | None:
        """What the group has committed; None if nothing."""
        with self.errors():
            offset: int | None = await super().committed(partition)
        return offset

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset that is kept, by partition."""
        with self.errors():
            offsets: dict[TopicPartition, int] = await super().beginning_offsets(partitions)
        return offsets

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where the broker says that logs end: too early on the embedded one; see `log_bounds`."""
        with self.errors():
            offsets: dict[TopicPartition, int] = await super().end_offsets(partitions)
        return offsets


def assign_at(consumer: WholeConsumer, positions: Mapping[TopicPartition, int]) -> None:
    """Read from these positions; one that retention has passed starts at what is left."""
    consumer.assign(list(positions))
    for partition, offset in positions.items():
        consumer.seek(partition, offset)
