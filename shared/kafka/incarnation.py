"""The incarnation of the log: a random id in `mesh.meta`. Another one means that the log was thrown away.

Whoever keeps state that was made from the log (Redis, Celery's queues) keeps the incarnation beside it, and throws the
state away when they differ. The first record of the key wins, so several processes may start at once.
"""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

from aiokafka import TopicPartition

from eldermesh.kafka.consumer import assign_at
from eldermesh.kafka.errors import KafkaRefusedError, KafkaUnavailableError
from eldermesh.kafka.log_bounds import log_bounds
from eldermesh.kafka.unreadable import UnreadableRecord
from shared.errors import ConfigurationError, RetryableError
from shared.kafka.clients import make_admin, make_consumer, make_producer
from shared.kafka.topics import MESH_META
from shared.settings import Settings

INCARNATION_KEY = b"incarnation"
READ_SECONDS = 30.0
"""Longest that reading or writing the incarnation takes."""

_PARTITION = 0


async def read_or_create_incarnation(settings: Settings) -> str:
    """The incarnation of the log behind `settings`, written now if there is none.

    `mesh.meta` is compacted, which keeps the *last* record of a key: if a race put a second one there, the first is
    appended again, long before a segment is old enough to be compacted.

    Raises:
        ConfigurationError: the topic does not exist (`mesh topics apply` creates it) or holds something else, or the
            broker refuses this client.
        RetryableError: the broker does not answer within `READ_SECONDS`.
    """
    try:
        async with asyncio.timeout(READ_SECONDS):
            await _check_topic(settings)
            found = await _read(settings)
            if not found:
                await _append(settings, str(uuid4()))
                found = await _read(settings)
            if found[-1] != found[0]:
                await _append(settings, found[0])
            return found[0]
    except TimeoutError as error:
        raise RetryableError(f"the incarnation could not be read within {READ_SECONDS:g} s") from error
    except KafkaRefusedError as error:
        raise ConfigurationError(str(error)) from error
    except KafkaUnavailableError as error:
        raise RetryableError(f"the incarnation could not be read: {error!r}") from error


async def _check_topic(settings: Settings) -> None:
    """The embedded broker creates any topic that is asked for by name, with the wrong partitions: look at the list."""
    admin = make_admin(settings)
    try:
        await admin.start()
        if settings.topic(MESH_META) not in await admin.list_topics():
            raise ConfigurationError(f"the topic {settings.topic(MESH_META)} does not exist: run `mesh topics apply`")
    finally:
        await admin.close()


async def _read(settings: Settings) -> list[str]:
    """All values of the key, oldest first."""
    partition = TopicPartition(settings.topic(MESH_META), _PARTITION)
    consumer = make_consumer(settings)
    try:
        await consumer.start()
        start, end = (await log_bounds(consumer, [partition]))[partition]
        assign_at(consumer, {partition: start})
        values: list[str] = []
        while await consumer.position(partition) < end:
            batches = await consumer.getmany(partition, timeout_ms=1000)
            records = batches.get(partition, ())
            for record in records:
                if isinstance(record, UnreadableRecord):  # it may be the one that everybody has
                    raise ConfigurationError(f"{MESH_META}, offset {record.offset}: {record.unreadable.reason}")
            values += [_incarnation(record.value) for record in records if record.key == INCARNATION_KEY]
        return values
    finally:
        await consumer.stop()


def _incarnation(value: bytes | None) -> str:
    try:
        return str(UUID((value or b"").decode("ascii")))
    except ValueError as error:
        raise ConfigurationError(f"{MESH_META} holds an incarnation that is no UUID: {value!r}") from error


async def _append(settings: Settings, incarnation: str) -> None:
    producer = make_producer(settings, client_id="eldermesh-incarnation")
    try:
        await producer.start()
        await producer.send_and_wait(
            settings.topic(MESH_META), incarnation.encode(), key=INCARNATION_KEY, partition=_PARTITION
        )
    finally:
        await producer.stop()
