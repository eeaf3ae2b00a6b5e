"""A producer that outlives its failures, on a real Apache Kafka."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from eldermesh.kafka.replacing_producer import OutgoingRecord
from shared.errors import RecordTooLargeError, RetryableError, StopServiceError
from shared.history.kafka_log import KafkaPartitionLog
from shared.history.machine import Publication
from shared.kafka.clients import make_admin, make_producer
from shared.kafka.service_producer import Producer
from shared.kafka.topic_admin import apply_topics
from shared.kafka.topics import JOBS_DEAD, JOBS_HISTORY, JOBS_PROGRESS
from shared.settings import Settings
from tests.fresh_topics import fresh_topics
from tests.inboxes import read_all
from tests.kafka_server import KafkaServer, kafka_missing
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka


@pytest.fixture
async def settings(apache_kafka: str) -> AsyncIterator[Settings]:
    """Topics of their own."""
    async with fresh_topics(apache_kafka, "kafka") as settings:
        yield settings


@asynccontextmanager
async def producing(settings: Settings, *, acknowledge_seconds: float = 15.0) -> AsyncIterator[Producer]:
    """A producer that has connected."""
    producer = make_producer(settings, acknowledge_seconds=acknowledge_seconds)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def configure(settings: Settings, topic: str, **config: str) -> None:
    """Change a topic's configuration; dots of a name are underscores here."""
    admin = make_admin(settings)
    await admin.start()
    try:
        named = {name.replace("_", "."): value for name, value in config.items()}
        resource = ConfigResource(ConfigResourceType.TOPIC, settings.topic(topic), named)
        await admin.alter_configs([resource])
    finally:
        await admin.close()


async def becomes_too_large(producer: Producer, topic: str) -> None:
    """Send until the broker refuses it: a topic's new limit takes a moment to be in force."""

    async def refused() -> bool:
        try:
            await producer.send_and_wait(topic, b"x" * 5000, partition=0)
        except RecordTooLargeError:
            return True
        return False

    await wait_until(refused, description="the broker refuses it for its size")


async def values(settings: Settings, topic: str) -> list[bytes | None]:
    """What the topic holds."""
    return [record.value for record in await read_all(settings, topic)]


async def test_what_the_broker_refuses_for_its_size_does_not_stop_what_follows(settings: Settings) -> None:
    """A topic that takes less than it should refuses one record; the next one of the same partition goes through.

    aiokafka's idempotent producer would count on, and fail with each later record of that partition.
    """
    topic = settings.topic(JOBS_PROGRESS)
    async with producing(settings) as producer:
        await producer.send_and_wait(topic, b"first", partition=0)
        await configure(settings, JOBS_PROGRESS, max_message_bytes="1024")
        await becomes_too_large(producer, topic)
        await producer.send_and_wait(topic, b"second", partition=0)
    assert [value for value in await values(settings, JOBS_PROGRESS) if len(value or b"") < 10] == [b"first", b"second"]


async def test_an_owners_log_goes_on_once_its_topic_takes_records_again(settings: Settings) -> None:
    """What was refused is to be tried again, in its order, until somebody has corrected the topic: nothing is lost."""
    records = [Publication(JOBS_PROGRESS, "k", value, []) for value in (b"1", b"2" * 5000, b"3")]
    async with AsyncExitStack() as stack:
        producer = await stack.enter_async_context(producing(settings))
        log = KafkaPartitionLog(settings, JOBS_HISTORY, 0, producer)
        stack.push_async_callback(log.stop)
        await configure(settings, JOBS_PROGRESS, max_message_bytes="1024")
        await becomes_too_large(producer, settings.topic(JOBS_PROGRESS))
        before = len(await values(settings, JOBS_PROGRESS))
        with pytest.raises(RetryableError):
            await log.publish(records)
        await configure(settings, JOBS_PROGRESS, max_message_bytes=str(1024 * 1024))

        async def published() -> bool:
            try:
                await log.publish(records)
            except RetryableError:
                return False
            return True

        await wait_until(published, description="all are published")
    written = (await values(settings, JOBS_PROGRESS))[before:]
    assert written[-3:] == [record.value for record in records]
    assert set(written[:-3]) <= {b"1"}, "a record overtook one that was refused"


@pytest.mark.parametrize("size", [1_305_000, 1_311_000, 1_350_000, 1_399_000, 1_500_000])
async def test_no_size_is_a_surprise(settings: Settings, size: int) -> None:
    """Just below the limit of `jobs.dead` a record is taken; above, it is refused at once, and the next one goes."""
    topic = settings.topic(JOBS_DEAD)
    async with producing(settings) as producer:
        if size < 1_310_000:
            await producer.send_and_wait(topic, b"x" * size, partition=0, headers=[("h", b"v")])
        else:
            with pytest.raises(RecordTooLargeError, match=r"takes no record of \d+ bytes"):  # nobody else was asked
                await producer.send_and_wait(topic, b"x" * size, partition=0, headers=[("h", b"v")])
        await producer.send_and_wait(topic, b"next", partition=0)
    assert (await values(settings, JOBS_DEAD))[-1] == b"next"


async def test_others_do_not_see_that_one_was_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tasks share a producer: what one of them breaks is replaced under the others, who lose nothing.

    A broker that refuses a record for its size works: that is no trouble, however short the time that counts as such.
    """
    monkeypatch.setattr("shared.kafka.service_producer.TROUBLE_SECONDS", 0.0)
    progress, history = settings.topic(JOBS_PROGRESS), settings.topic(JOBS_HISTORY)
    await configure(settings, JOBS_PROGRESS, max_message_bytes="1024")
    async with producing(settings) as producer:
        await becomes_too_large(producer, progress)

        async def appends(partition: int) -> None:
            for number in range(50):
                await producer.send_and_wait(history, b"%d" % number, key=b"%d" % partition, partition=partition)

        async def refused() -> None:
            for _ in range(20):
                with pytest.raises(RecordTooLargeError):
                    await producer.send_and_wait(progress, b"x" * 5000, partition=0)

        async with asyncio.TaskGroup() as group:
            for partition in range(settings.partition_count):
                group.create_task(appends(partition))
            group.create_task(refused())
        assert producer.trouble is None
    written = await read_all(settings, JOBS_HISTORY)
    for partition in range(settings.partition_count):
        mine = [record.value for record in written if record.partition == partition]
        assert mine == [b"%d" % number for number in range(50)]


async def delete(settings: Settings, topic: str) -> None:
    """Take a topic away, which Kafka then refuses as one that may come: aiokafka sends its records again and again."""
    admin = make_admin(settings)
    await admin.start()
    try:
        await admin.delete_topics([settings.topic(topic)], timeout_ms=10_000)
        await wait_until(lambda: _is_gone(admin, settings.topic(topic)), description="the topic is gone")
    finally:
        await admin.close()


async def _is_gone(admin: Any, name: str) -> bool:
    return name not in await admin.list_topics()


async def _taken(producer: Producer, topic: str) -> bool:
    try:
        await producer.send_and_wait(topic, b"taken", partition=0)
    except RetryableError:
        return False
    return True


async def test_a_call_that_fails_leaves_nothing_to_be_sent_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka refuses for longer than a call lasts: it ends in time, and what it gave up never comes.

    aiokafka would send it once Kafka takes records again, and one copy more for each try. Meanwhile the producer says
    for how long nothing was acknowledged, though others are; one success ends that.
    """
    monkeypatch.setattr("shared.kafka.service_producer.TROUBLE_SECONDS", 0.5)
    topic = settings.topic(JOBS_PROGRESS)
    async with producing(settings, acknowledge_seconds=3.0) as producer:
        await producer.send_and_wait(topic, b"before", partition=0)
        await delete(settings, JOBS_PROGRESS)
        for _ in range(3):
            with pytest.raises(RetryableError):
                await producer.send_all(
                    [
                        OutgoingRecord(settings.topic(JOBS_DEAD), b"another", partition=0),
                        *[OutgoingRecord(topic, b"given up", partition=0)] * 3,
                    ]
                )
            await producer.send_and_wait(settings.topic(JOBS_DEAD), b"another", partition=1)
        assert re.fullmatch(
            rf"Kafka has acknowledged no record for \d+ s \(partition 0 of {topic}\)", str(producer.trouble)
        )
        await apply_topics(settings)
        await wait_until(lambda: _taken(producer, topic), description="the topic takes records again")
        assert producer.trouble is None
    assert b"given up" not in await values(settings, JOBS_PROGRESS)


async def test_who_is_cancelled_again_and_again_leaves_nothing_either(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers with a limit of their own, shorter than ours, do not heap up records."""
    monkeypatch.setattr("eldermesh.kafka.replacing_producer.SUSPECT_SECONDS", 0.2)
    topic = settings.topic(JOBS_PROGRESS)
    async with producing(settings) as producer:
        await producer.send_and_wait(topic, b"before", partition=0)
        await delete(settings, JOBS_PROGRESS)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await producer.send_and_wait(topic, b"given up", partition=0)
        await apply_topics(settings)
        await wait_until(lambda: _taken(producer, topic), description="the topic takes records again")
    assert b"given up" not in await values(settings, JOBS_PROGRESS)


async def test_a_partition_that_is_not_there_is_to_be_tried_again(settings: Settings) -> None:
    """A topic may just be growing, or another cluster stand at the address."""
    async with producing(settings) as producer:
        with pytest.raises(RetryableError, match="99"):
            await producer.send_and_wait(settings.topic(JOBS_PROGRESS), b"x", partition=99)


async def test_after_its_stop_it_says_so(settings: Settings) -> None:
    """Not a matter of waiting: somebody stopped it under us."""
    async with producing(settings) as producer:
        await producer.stop()
        with pytest.raises(StopServiceError):
            await producer.send_and_wait(settings.topic(JOBS_PROGRESS), b"x", partition=0)


async def test_a_frozen_broker_costs_a_bounded_time(nothing_left: None, tmp_path: Path) -> None:
    """Its connections stay open and say nothing: sending and stopping end in time, and it goes on with the broker."""
    missing = kafka_missing()
    if missing is not None:
        pytest.skip(missing)
    kafka = KafkaServer(tmp_path / "kafka")
    await kafka.start()
    try:
        async with fresh_topics(kafka.bootstrap, "kafka", partitions=1) as settings:
            topic = settings.topic(JOBS_PROGRESS)
            async with (
                producing(settings, acknowledge_seconds=4.0) as producer,
                producing(settings, acknowledge_seconds=4.0) as other,
            ):
                await producer.send_and_wait(topic, b"before", partition=0)
                with frozen(kafka):
                    for _ in range(3):
                        async with asyncio.timeout(60.0):
                            with pytest.raises(RetryableError):
                                await producer.send_and_wait(topic, b"frozen", partition=0)
                    async with asyncio.timeout(60.0):
                        await other.stop()
                        with pytest.raises(RetryableError):
                            await make_producer(settings, acknowledge_seconds=4.0).start()
                await wait_until(lambda: _taken(producer, topic), description="it takes records again")
            assert (await values(settings, JOBS_PROGRESS))[0] == b"before"
    finally:
        kafka.kill()


class frozen:  # noqa: N801 - it is used as a function
    """A broker stopped by SIGSTOP, as long as the context is open."""

    def __init__(self, kafka: KafkaServer) -> None:
        assert kafka.service.pid is not None
        self._pid = kafka.service.pid

    def __enter__(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGCONT)
