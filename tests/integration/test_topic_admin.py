"""`apply_topics` and the incarnation, the same on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from aiokafka.admin import NewTopic

from shared.errors import ConfigurationError, RetryableError
from shared.kafka.clients import make_admin, make_producer
from shared.kafka.incarnation import INCARNATION_KEY, read_or_create_incarnation
from shared.kafka.topic_admin import apply_topics
from shared.kafka.topics import JOBS, JOBS_DONE, JOBS_HISTORY, MESH_META, TOPICS
from shared.settings import Settings
from tests.fresh_topics import deleted_afterwards, fresh_settings
from tests.waiting import wait_until


async def _create(settings: Settings, *topics: NewTopic) -> None:
    """Create topics by hand, and wait until the broker that is asked next lists them."""
    admin = make_admin(settings)
    try:
        await admin.start()
        response = await admin.create_topics(list(topics))
        assert [error for _, error, *_ in response.topic_errors] == [0] * len(topics)

        async def listed() -> bool:
            return {topic.name for topic in topics} <= set(await admin.list_topics())

        await wait_until(listed, description="the new topics are listed")
    finally:
        await admin.close()


async def _partitions(settings: Settings) -> dict[str, int]:
    admin = make_admin(settings)
    try:
        await admin.start()
        return {
            topic["topic"].removeprefix(settings.topic_prefix): len(topic["partitions"])
            for topic in await admin.describe_topics()
            if topic["topic"].startswith(settings.topic_prefix)
        }
    finally:
        await admin.close()


class TopicAdminContract:
    """What has to hold on every broker. `settings` have a prefix without topics."""

    async def test_creates_all_topics_once(self, settings: Settings) -> None:
        """The first call creates every topic with its partitions, the second finds all of them unchanged."""
        names = tuple(settings.topic(spec.name) for spec in TOPICS)

        first = await apply_topics(settings)
        again = await apply_topics(settings)

        assert (first.created, first.unchanged, first.refused) == (names, (), ())
        assert (again.created, again.unchanged, again.refused) == ((), names, ())
        assert await _partitions(settings) == {spec.name: spec.partitions or 3 for spec in TOPICS}

    async def test_two_at_once(self, settings: Settings) -> None:
        """Two processes that start together agree: each topic is created by one of them, none is refused."""
        one, two = await asyncio.gather(apply_topics(settings), apply_topics(settings))

        assert not one.refused
        assert not two.refused
        assert not set(one.created) & set(two.created)
        assert len(one.created) + len(two.created) == len(TOPICS)

    async def test_refuses_other_partition_count_and_changes_nothing(self, settings: Settings) -> None:
        """With one topic of five partitions in the way nothing at all is created, and the reason names the numbers."""
        await _create(settings, NewTopic(settings.topic(JOBS_DONE), 5, 1))

        applied = await apply_topics(settings)

        assert applied.created == ()
        assert [topic.name for topic in applied.refused] == [settings.topic(JOBS_DONE)]
        assert "5 partitions instead of 3" in applied.refused[0].reason
        assert await _partitions(settings) == {JOBS_DONE: 5}

    async def test_refuses_a_compacted_history(self, settings: Settings) -> None:
        """A policy that would lose facts is read back from the broker and refused."""
        history = settings.topic(JOBS_HISTORY)
        await _create(settings, NewTopic(history, 3, 1, topic_configs={"cleanup.policy": "compact"}))

        applied = await apply_topics(settings)

        assert [topic.name for topic in applied.refused] == [history]
        assert "cleanup.policy is 'compact'" in applied.refused[0].reason

    async def test_completes_a_partial_set(self, settings: Settings) -> None:
        """Topics made by hand with the right policy stay as they are, the rest is created."""
        inbox = next(spec for spec in TOPICS if spec.name == JOBS)
        await _create(settings, NewTopic(settings.topic(JOBS), 3, 1, topic_configs=inbox.config()))

        applied = await apply_topics(settings)

        assert applied.unchanged == (settings.topic(JOBS),)
        assert len(applied.created) == len(TOPICS) - 1

    async def test_incarnation_stays(self, settings: Settings) -> None:
        """It is a UUID, written with the topics, and the same for everyone who asks, also at once."""
        await apply_topics(settings)

        found = await asyncio.gather(*(read_or_create_incarnation(settings) for _ in range(4)))

        assert len(set(found)) == 1
        UUID(found[0])

    async def test_first_incarnation_wins_and_is_repeated(self, settings: Settings) -> None:
        """A second value in the log changes nothing, and the first is appended again for compaction to keep."""
        await apply_topics(settings)
        first = await read_or_create_incarnation(settings)
        producer = make_producer(settings)
        await producer.start()
        try:
            await producer.send_and_wait(
                settings.topic(MESH_META), str(uuid4()).encode(), key=INCARNATION_KEY, partition=0
            )
            assert await read_or_create_incarnation(settings) == first
            nothing = await producer.send_and_wait(settings.topic(MESH_META), b"", key=b"other", partition=0)
        finally:
            await producer.stop()

        assert nothing.offset == 3  # first, second, first again
        assert await read_or_create_incarnation(settings) == first

    async def test_incarnation_without_topics(self, settings: Settings) -> None:
        """Asking before the topics exist says what to do and creates nothing by the way."""
        with pytest.raises(ConfigurationError, match="mesh topics apply"):
            await read_or_create_incarnation(settings)

        assert await _partitions(settings) == {}


class TestEmbedded(TopicAdminContract):
    @pytest.fixture
    async def settings(self, embedded_broker: str) -> AsyncIterator[Settings]:
        """A prefix on the embedded broker."""
        async with deleted_afterwards(fresh_settings(embedded_broker, "embedded")) as settings:
            yield settings


class TestKafka(TopicAdminContract):
    @pytest.fixture
    async def settings(self, apache_kafka: str) -> AsyncIterator[Settings]:
        """A prefix on Apache Kafka."""
        async with deleted_afterwards(fresh_settings(apache_kafka, "kafka")) as settings:
            yield settings

    async def test_defaults_of_kafka_are_judged(self, settings: Settings) -> None:
        """A history made without settings has Kafka's defaults: a producer's clock and seven days; both are named."""
        history = settings.topic(JOBS_HISTORY)
        await _create(settings, NewTopic(history, 3, 1))

        refused = (await apply_topics(settings)).refused

        assert [topic.name for topic in refused] == [history]
        assert "message.timestamp.type is CreateTime" in refused[0].reason
        assert "retention.ms is 604800000 instead of at least" in refused[0].reason


async def test_a_broker_that_is_not_there() -> None:
    """Nobody listens: the error says that trying again may help, and nothing hangs."""
    with pytest.raises(RetryableError, match="no broker answers at"):
        await apply_topics(fresh_settings("127.0.0.1:1", "kafka"))
