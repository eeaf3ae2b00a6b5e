"""aiokafka clients as the client library uses them, and where the public topics stand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from eldermesh.client.errors import AccessRefusedError, ClientError, MeshUnavailableError, TopicsMissingError
from eldermesh.contract.partitions import partition_of
from eldermesh.contract.tenants import is_job_inbox, tenant_of_inbox
from eldermesh.contract.topics import (
    CLAUDE_OUTPUT,
    CLAUDE_REQUESTS,
    JOBS,
    JOBS_DEAD,
    JOBS_DECISIONS,
    JOBS_DONE,
    JOBS_HOLDS,
    JOBS_PROGRESS,
)
from eldermesh.counted import counted
from eldermesh.kafka.access import KafkaAccess
from eldermesh.kafka.admin import WholeAdminClient
from eldermesh.kafka.consumer import WholeConsumer
from eldermesh.kafka.errors import KafkaRefusedError, KafkaUnavailableError, no_broker
from eldermesh.kafka.log_bounds import log_bounds
from eldermesh.kafka.replacing_producer import OutgoingRecord, ReplacingProducer
from eldermesh.kafka.whole_producer import WholeProducer

FETCH_WAIT_MS = 50
"""Kafka answers a fetch as soon as there is data; the embedded broker sleeps in steps of this."""

_MAX_FETCH_BYTES = 4 * 1024 * 1024
_REQUEST_MS = 10_000
_ACKNOWLEDGE_SECONDS = 15.0
_ENDS_SECONDS = 30.0
_PUBLIC = (JOBS_PROGRESS, JOBS_DONE, JOBS_DEAD)
_FOR_SOME = (JOBS, JOBS_DECISIONS, JOBS_HOLDS, CLAUDE_REQUESTS, CLAUDE_OUTPUT)
"""Only who submits, decides on holds, follows them, or sends prompts on their own needs these."""

Positions = Mapping[TopicPartition, int]
"""Offsets to read from, by partition."""


@dataclass(frozen=True, slots=True)
class PublicTopics:
    """Full names of the public topics and their numbers of partitions."""

    prefix: str
    partitions: Mapping[str, int]

    def name(self, topic: str) -> str:
        """Full name of a public topic."""
        return f"{self.prefix}{topic}"

    @property
    def job_inboxes(self) -> tuple[str, ...]:
        """The topics, without prefix, that jobs are sent to: `jobs`, and the inboxes of tenants."""
        return tuple(sorted(name for name in self.partitions if is_job_inbox(name)))

    def all_partitions(self, topic: str) -> list[TopicPartition]:
        """Every partition of a public topic; none of one that is not there."""
        return [TopicPartition(self.name(topic), number) for number in range(self.partitions.get(topic, 0))]

    def partition_of(self, topic: str, job_id: str) -> TopicPartition:
        """The partition of a job on a topic that is keyed by `job_id`."""
        return TopicPartition(self.name(topic), partition_of(job_id, self.partitions[topic]))


@asynccontextmanager
async def kafka_errors(doing: str) -> AsyncIterator[None]:
    """Turn `KafkaUnavailableError`, and a limit of our own on a call, into errors of the client."""
    try:
        yield
    except KafkaRefusedError as error:
        raise AccessRefusedError(f"{doing}: {error}") from error
    except (KafkaUnavailableError, TimeoutError) as error:
        raise MeshUnavailableError(f"{doing}: {error!r}") from error


@asynccontextmanager
async def broker_errors(kafka: KafkaAccess) -> AsyncIterator[None]:
    """As `kafka_errors`, where a broker is asked for the first time: perhaps there is none."""
    try:
        yield
    except KafkaRefusedError as error:
        raise AccessRefusedError(str(error)) from error
    except (KafkaUnavailableError, TimeoutError) as error:
        raise MeshUnavailableError(no_broker(kafka.bootstrap, error)) from error


async def read_topics(kafka: KafkaAccess, prefix: str, *, inbox: str = JOBS) -> PublicTopics:
    """Ask the broker for the public topics; those of the inboxes of tenants are among them, where they are seen.

    Args:
        kafka: the broker.
        prefix: of all names of topics.
        inbox: the one that jobs are sent to, and so has to be there.

    All topics are listed: the embedded broker creates a topic that is asked for by name.

    Raises:
        AccessRefusedError: the broker refuses this client.
        TopicsMissingError: not all of them exist.
        MeshUnavailableError: the broker does not answer.
    """
    admin = WholeAdminClient(**kafka.options(), client_id="eldermesh-client", request_timeout_ms=_REQUEST_MS)
    async with broker_errors(kafka):
        try:
            await admin.start()
            listed = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
        finally:
            await admin.close()
    missing = [f"{prefix}{name}" for name in (inbox, *_PUBLIC) if not listed.get(f"{prefix}{name}")]
    if missing:
        raise TopicsMissingError(
            f"the broker at {kafka.bootstrap} has no {', '.join(missing)}{seen_by(kafka)}: "
            "run `mesh topics apply`, or check the topic prefix"
        )
    mine = {name.removeprefix(prefix): count for name, count in listed.items() if name.startswith(prefix)}
    inboxes = (name for name in mine if tenant_of_inbox(name) is not None)
    found = {name: mine.get(name, 0) for name in (*_PUBLIC, *_FOR_SOME, *inboxes)}
    return PublicTopics(prefix, {name: partitions for name, partitions in found.items() if partitions})


def seen_by(kafka: KafkaAccess) -> str:
    """What has to be added where a topic is missing: Kafka hides topics from those whom no ACL lets describe them."""
    if kafka.security.protocol == "plaintext":
        return ""
    return f" that {kafka.security.username or 'the owner of this certificate'} may see (ACLs: Describe)"


class SubmittingProducer:
    """Sends records over a new aiokafka producer after a failure, and waits for all replicas.

    Not idempotent, since not every broker can: a record that is doubled by a retry is the same submit, by its id.
    """

    def __init__(self, kafka: KafkaAccess) -> None:
        self._kafka = kafka
        self._producer = ReplacingProducer(self._make, acknowledge_seconds=_ACKNOWLEDGE_SECONDS)

    def _make(self) -> WholeProducer:
        return WholeProducer(
            **self._kafka.options(),
            client_id="eldermesh-client",
            acks="all",
            enable_idempotence=False,
            request_timeout_ms=_REQUEST_MS,
        )

    async def start(self) -> None:
        """Connect.

        Raises:
            MeshUnavailableError: the broker does not answer.
        """
        async with broker_errors(self._kafka):
            await self._producer.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._producer.stop()

    async def send_all(self, records: Sequence[OutgoingRecord]) -> list[Any]:
        """Send records; return aiokafka's metadata of each.

        Raises:
            MeshUnavailableError: not all were acknowledged; those that were not may or may not be there.
        """
        names = ", ".join(sorted({record.topic for record in records}))
        async with kafka_errors(f"{names} did not acknowledge"):
            return await self._producer.send_all(records)


@asynccontextmanager
async def started_producer(kafka: KafkaAccess) -> AsyncIterator[SubmittingProducer]:
    """A producer of submits that is connected."""
    producer = SubmittingProducer(kafka)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def started_consumer(kafka: KafkaAccess) -> AsyncIterator[Any]:
    """A consumer without a group: it commits nothing, its partitions are assigned by hand."""
    consumer = WholeConsumer(
        **kafka.options(),
        client_id="eldermesh-client",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_partition_fetch_bytes=_MAX_FETCH_BYTES,
        request_timeout_ms=_REQUEST_MS,
    )
    try:
        async with broker_errors(kafka):
            await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def end_positions(kafka: KafkaAccess, partitions: Iterable[TopicPartition]) -> Positions:
    """Where the partitions end now.

    Raises:
        MeshUnavailableError: the broker does not answer.
    """
    async with started_consumer(kafka) as consumer, kafka_errors("the ends of the topics cannot be read"):
        async with asyncio.timeout(_ENDS_SECONDS):
            bounds = await log_bounds(consumer, partitions)
        return {partition: each.end for partition, each in bounds.items()}


def check_partitions(topics: PublicTopics, expected: int | None) -> None:
    """Compare the partitions of results and ends with what the caller expects.

    Raises:
        ClientError: they differ, so the caller talks to another mesh than it thinks.
    """
    for name in (JOBS_PROGRESS, JOBS_DONE):
        if expected is not None and topics.partitions[name] != expected:
            raise ClientError(
                f"{topics.name(name)} has {counted(topics.partitions[name], 'partition')}, not {expected}"
            )
