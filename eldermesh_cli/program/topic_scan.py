"""Reading stretches of topics, whoever wrote them: each record below the end as it was when the reading began."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from aiokafka import TopicPartition

from eldermesh.client.errors import MeshUnavailableError
from eldermesh.client.kafka import end_positions, kafka_errors, started_consumer
from eldermesh.kafka.access import KafkaAccess
from eldermesh.kafka.consumer import assign_at

_POLL_MS = 500
_STALLED_SECONDS = 20.0


async def read_stretches(
    kafka: KafkaAccess, partitions: Iterable[TopicPartition], starts: Mapping[TopicPartition, int] | None = None
) -> AsyncGenerator[Any, None]:
    """Every aiokafka record between `starts` (default: the logs' starts) and the ends as they are now.

    Records of one partition come in order; those of several come mixed. A caller that stops early has to close the
    generator (`contextlib.aclosing`), which closes the connection.

    Raises:
        MeshUnavailableError: the broker does not answer, or nothing comes any more although the end is not reached.
    """
    ends = await end_positions(kafka, partitions)
    async with aclosing(read_until(kafka, ends, starts)) as records:
        async for record in records:
            yield record


async def read_until(
    kafka: KafkaAccess, ends: Mapping[TopicPartition, int], starts: Mapping[TopicPartition, int] | None = None
) -> AsyncGenerator[Any, None]:
    """Every aiokafka record between `starts` (default: the logs' starts) and `ends`.

    Raises:
        MeshUnavailableError: the broker does not answer, or nothing comes any more although the end is not reached.
    """
    async with started_consumer(kafka) as consumer, kafka_errors("the topics cannot be read"):
        begins: dict[TopicPartition, int] = await consumer.beginning_offsets(list(ends))
        left = {each for each in ends if ends[each] > begins[each]}
        assign_at(consumer, {each: max(begins[each], (starts or {}).get(each, 0)) for each in left})
        progressed = time.monotonic()
        while left:
            batches = await consumer.getmany(*left, timeout_ms=_POLL_MS)
            for partition, records in batches.items():
                for record in records:
                    if record.offset < ends[partition]:
                        yield record
            done = {each for each in left if await consumer.position(each) >= ends[each]}
            if batches or done:
                progressed = time.monotonic()
            elif time.monotonic() - progressed > _STALLED_SECONDS:
                raise MeshUnavailableError(f"{', '.join(each.topic for each in left)} cannot be read to the end")
            left -= done


async def log_starts(kafka: KafkaAccess, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """The first offset that is still kept, by partition; above 0 where retention has taken records.

    Raises:
        MeshUnavailableError: the broker does not answer.
    """
    async with started_consumer(kafka) as consumer, kafka_errors("the topics cannot be read"):
        starts: dict[TopicPartition, int] = await consumer.beginning_offsets(list(partitions))
        return starts
