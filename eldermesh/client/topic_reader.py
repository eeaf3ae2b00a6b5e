"""Reading public topics from their start, for jobs of long ago and for whoever checks the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import TopicPartition

from eldermesh.client.errors import WaitTimeoutError
from eldermesh.client.kafka import (
    Positions,
    PublicTopics,
    end_positions,
    kafka_errors,
    read_topics,
    started_consumer,
)
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.tenants import is_job_inbox
from eldermesh.contract.topics import JOBS_DEAD, JOBS_DONE, JOBS_HOLDS, JOBS_PROGRESS
from eldermesh.kafka.access import KafkaAccess, KafkaSecurity
from eldermesh.kafka.consumer import assign_at

_POLL_MS = 1000


def public_record(topics: PublicTopics, record: Any) -> PublicRecord:
    """An aiokafka record in the terms of the contract."""
    return PublicRecord(
        topic=record.topic.removeprefix(topics.prefix),
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        headers=tuple(record.headers),
        value=record.value,
    )


async def read_range(consumer: Any, topics: PublicTopics, until: Positions) -> AsyncIterator[PublicRecord]:
    """Every record that is left below the positions `until`; the consumer's assignment is replaced.

    Raises:
        MeshUnavailableError: the broker refuses.
    """
    # Starting at 0: what retention has taken is skipped by the consumer's reset to the earliest record.
    open_partitions = [partition for partition, end in until.items() if end > 0]
    assign_at(consumer, dict.fromkeys(open_partitions, 0))
    async with kafka_errors("the public topics cannot be read"):
        while open_partitions:
            for partition, records in (await consumer.getmany(*open_partitions, timeout_ms=_POLL_MS)).items():
                for record in records:
                    if record.offset < until[partition]:
                        yield public_record(topics, record)
            open_partitions = [each for each in open_partitions if await _position(consumer, each) < until[each]]


async def _position(consumer: Any, partition: TopicPartition) -> int:
    position: int = await consumer.position(partition)
    return position


async def read_public_topics(
    bootstrap: str,
    topic_prefix: str = "",
    *,
    names: tuple[str, ...] | None = None,
    timeout_seconds: float = 60.0,
    security: KafkaSecurity | None = None,
) -> list[PublicRecord]:
    """All records that lie on public topics now, by topic, partition and offset.

    Args:
        bootstrap: the broker.
        topic_prefix: of the mesh.
        names: the topics, without prefix; by default all that jobs are sent to, and all that says what became of them.
        timeout_seconds: longest that it takes.
        security: TLS and login of Kafka, if it asks for them.

    Raises:
        TopicsMissingError: the topics do not exist.
        MeshUnavailableError: the broker does not answer.
        WaitTimeoutError: there is more than can be read in the time given.
        KafkaSecurityError: a file of `security` cannot be used.
    """
    kafka = KafkaAccess(bootstrap, security)
    scope = asyncio.timeout(timeout_seconds)
    try:
        async with scope:
            topics = await read_topics(kafka, topic_prefix)
            async with started_consumer(kafka) as consumer:
                names = names or (*topics.job_inboxes, JOBS_PROGRESS, JOBS_DONE, JOBS_HOLDS, JOBS_DEAD)
                # The inboxes last: whatever the other topics speak of is then in them.
                until: dict[TopicPartition, int] = {}
                for name in sorted(names, key=is_job_inbox):
                    until |= await end_positions(kafka, topics.all_partitions(name))
                found = [record async for record in read_range(consumer, topics, until)]
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise WaitTimeoutError(f"the public topics could not be read within {timeout_seconds:g} s") from error
    return sorted(found, key=lambda record: (names.index(record.topic), record.partition, record.offset))
