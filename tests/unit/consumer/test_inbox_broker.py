"""What inboxes reach into FastStream for is still there: a new version of it that differs fails here, by name."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any, get_type_hints

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord
from faststream import FastStream
from faststream.kafka import KafkaBroker
from faststream.kafka.parser import AioKafkaBatchParser
from faststream.kafka.subscriber.usecase import BatchSubscriber

from shared.consumer.client import InboxClient
from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.consumer.inbox_broker import InboxBroker
from shared.consumer.ranked_client import RankedInboxClient
from shared.consumer.read_ahead import Ranking
from shared.errors import ConfigurationError
from shared.history.owner_parts import Rank
from shared.kafka.clients import make_producer
from shared.kafka.topics import JOBS
from shared.settings import Settings
from tests.integration.consumer.consuming import Collector


@pytest.fixture
def settings() -> Settings:
    """A broker that is not there: nothing here connects."""
    return Settings(kafka_bootstrap="127.0.0.1:9", broker_profile="embedded", _env_file=None)


def _subscriber(settings: Settings, ranking: Ranking | None = None) -> tuple[InboxConsumer, BatchSubscriber]:
    subscription = Subscription(JOBS, "tests.inbox", Collector(), ranking=ranking)
    consumer = InboxConsumer(settings, [subscription], make_producer(settings))
    (subscriber,) = consumer.broker.subscribers
    assert isinstance(subscriber, BatchSubscriber)
    return consumer, subscriber


async def test_connecting_sets_a_partial_of_the_librarys_consumer(settings: Settings) -> None:
    """In `config.broker_config.builder`, from which each subscriber makes its consumer at its start."""
    plain = KafkaBroker(settings.kafka_bootstrap, consumer_only=True)
    await plain.connect()
    builder = plain.config.broker_config.builder
    assert isinstance(builder, partial)
    assert builder.func is AIOKafkaConsumer
    assert await plain._connect() is plain.config.broker_config.builder  # noqa: SLF001 - what is overridden


async def test_subscribers_make_inbox_clients_with_the_brokers_options(settings: Settings) -> None:
    """The same options as FastStream's own broker would give them."""
    consumer, subscriber = _subscriber(settings)
    await consumer.broker.connect()
    builder: Any = subscriber.builder
    client = builder(group_id=subscriber.group_id, **subscriber._connection_args)  # noqa: SLF001 - as its `start` does
    assert type(client) is InboxClient
    await client.stop()
    assert builder.keywords["bootstrap_servers"] == "127.0.0.1:9"
    assert builder.keywords["request_timeout_ms"] == 40_000
    await consumer.broker.stop()


async def test_an_inbox_with_ranks_has_a_client_that_knows_them(settings: Settings) -> None:
    """Told apart by the group, which is the only thing of ours that FastStream hands to who makes the client."""
    consumer, subscriber = _subscriber(settings, ranking=lambda _, order: Rank(0, order))
    await consumer.broker.connect()
    client = subscriber.builder(group_id=subscriber.group_id, **subscriber._connection_args)  # noqa: SLF001 - as above
    assert type(client) is RankedInboxClient
    await client.stop()
    await consumer.broker.stop()


def test_a_batch_is_what_a_poll_gives_in_its_order() -> None:
    """So a client may give all under one key, in the order in which to begin."""
    assert "tuple(chain(*messages.values()))" in inspect.getsource(BatchSubscriber.get_msg)


async def test_an_inbox_that_has_stopped_itself_does_not_come_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FastStream starts the broker once more when all parts run: by then nobody would watch over it."""
    consumer, subscriber = _subscriber(settings)
    starts: list[str] = []

    async def start() -> None:
        starts.append("joined")

    monkeypatch.setattr(subscriber, "start", start)
    await consumer.broker.start()
    await consumer.broker.start()
    await consumer.broker.stop()
    await consumer.broker.start()
    assert starts == ["joined"]
    assert not consumer.broker.running


async def test_a_broker_that_makes_consumers_otherwise_does_not_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than read with a consumer that loses records after a poll that failed."""

    async def otherwise(_: KafkaBroker) -> Any:
        return AIOKafkaConsumer

    monkeypatch.setattr(KafkaBroker, "_connect", otherwise)
    with pytest.raises(ConfigurationError, match="FastStream makes its consumers otherwise"):
        await InboxBroker(settings).start()


def test_a_subscriber_keeps_its_consume_tasks_and_its_consumer(settings: Settings) -> None:
    """By these the watch over an inbox sees that a loop has ended, or polls no more."""
    _, subscriber = _subscriber(settings)
    assert subscriber.tasks == []
    assert subscriber.consumer is None
    assert "self.tasks.append(task)" in inspect.getsource(type(subscriber).add_task)


def test_a_poll_waits_as_long_as_the_subscriber_says_and_sleeps_as_long_again(settings: Settings) -> None:
    """Hence the millisecond of the subscriber, and the quarter of a second of its client."""
    _, subscriber = _subscriber(settings)
    assert subscriber.batch_timeout_ms == 1
    assert inspect.iscoroutinefunction(InboxClient.getmany)
    source = inspect.getsource(BatchSubscriber.get_msg)
    assert "consumer.getmany(" in source
    assert "timeout_ms=self.batch_timeout_ms" in source


async def test_headers_are_decoded_by_the_parser_that_is_replaced() -> None:
    """One header that is no UTF-8 would fail the whole batch: why inboxes parse batches without headers."""
    record = ConsumerRecord("jobs", 0, 0, 0, 0, None, b"{}", None, 0, 2, (("a", b"\xff"),))
    with pytest.raises(UnicodeDecodeError):
        await AioKafkaBatchParser(msg_class=Any, regex=None).parse_batch((record,))  # type: ignore[arg-type]


def test_an_application_has_the_lifespan_that_a_process_wraps() -> None:
    """`run` enters it around everything else, with the options of the command line."""
    app = FastStream()
    assert callable(app.lifespan_context)
    source = inspect.getsource(FastStream.run)
    assert "async with self.lifespan_context(" in source
    assert get_type_hints(FastStream.exit)["return"] is type(None)
