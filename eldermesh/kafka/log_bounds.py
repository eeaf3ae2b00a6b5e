"""Where a log begins and ends; not every broker reports its end correctly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from aiokafka import TopicPartition

from eldermesh.kafka.consumer import WholeConsumer, assign_at

_POLL_MS: Final = 50


class LogBounds(NamedTuple):
    """`start` is the first offset that is kept, `end` that of the next record to be written."""

    start: int
    end: int


async def log_bounds(consumer: WholeConsumer, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, LogBounds]:
    """Start and end of logs, as of now. It waits without a limit of its own.

    The embedded broker answers with the place behind the *first* record of the last batch, so the last record is
    fetched, too: what comes with it, the high watermark, is right on every broker.

    The consumer is assigned the partitions that are not empty, and has read some of their last records: whoever reads
    with it afterwards assigns or seeks anew.

    Raises:
        OffsetOutsideLogError: retention took the last record meanwhile, and the consumer resets no position.
        KafkaUnavailableError: the broker does not answer.
    """
    listed = list(partitions)
    ends = await consumer.end_offsets(listed)
    starts = await consumer.beginning_offsets(listed)
    last = {partition: ends[partition] - 1 for partition in listed if ends[partition] > starts[partition]}
    if last:
        assign_at(consumer, last)  # which forgets the high watermarks of earlier fetches
        while unknown := [partition for partition in last if consumer.highwater(partition) is None]:
            await consumer.getmany(*unknown, timeout_ms=_POLL_MS)
        ends |= {partition: max(ends[partition], consumer.highwater(partition)) for partition in last}
    return {partition: LogBounds(starts[partition], max(starts[partition], ends[partition])) for partition in listed}
