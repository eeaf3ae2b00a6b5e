"""A consumer of `jobs` with a handler that keeps what it handled."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.consumer.read_ahead import Ranking
from shared.consumer.record import ConsumedRecord
from shared.errors import DeadLetterError
from shared.kafka.clients import make_producer
from shared.kafka.topics import JOBS
from shared.settings import Settings
from tests.inboxes import Sent, committed, read_all

GROUP = "tests.consumer"
JOB_ID = "0190c0de-0000-7000-8000-000000000001"


class Collector:
    """A handler that keeps what it handled; values that begin with `bad` are invalid."""

    def __init__(self) -> None:
        self.handled: list[bytes] = []
        self.running: set[bytes] = set()
        self.most_running = 0
        self.before: Callable[[bytes], Any] = lambda _: None
        """Called before a value counts as handled; what it returns is awaited, what it raises is raised."""

    def decode(self, record: ConsumedRecord) -> bytes:
        """The value, unless it begins with `bad`."""
        value = record.value or b""
        if value.startswith(b"bad"):
            raise DeadLetterError("invalid", "begins with bad", job_id=JOB_ID if value == b"bad with id" else None)
        return value

    def root_trace_id(self, decoded: bytes) -> str | None:  # noqa: ARG002 - the interface is the consumer's
        """Random ones."""
        return None

    async def handle(self, record: ConsumedRecord, decoded: bytes) -> None:  # noqa: ARG002 - as above
        """Keep it."""
        self.running.add(decoded)
        self.most_running = max(self.most_running, len(self.running))
        try:
            outcome = self.before(decoded)
            if outcome is not None:
                await outcome
            self.handled.append(decoded)
        finally:
            self.running.discard(decoded)

    def counts(self) -> dict[bytes, int]:
        """How often each was handled."""
        return dict(Counter(self.handled))


@asynccontextmanager
async def consuming(
    settings: Settings,
    handler: Collector,
    passes_over: Callable[[ConsumedRecord], bool] | None = None,
    ranking: Ranking | None = None,
    **options: Any,
) -> AsyncIterator[InboxConsumer]:
    """A consumer of `jobs` that runs."""
    subscription = Subscription(JOBS, GROUP, handler, passes_over, ranking=ranking)
    async with consuming_of(settings, [subscription], **options) as consumer:
        yield consumer


@asynccontextmanager
async def consuming_of(
    settings: Settings, subscriptions: Sequence[Subscription], **options: Any
) -> AsyncIterator[InboxConsumer]:
    """A consumer of these subscriptions that runs."""
    producer = make_producer(settings)
    await producer.start()
    consumer = InboxConsumer(settings, subscriptions, producer, **options)
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()
        await producer.stop()


def numbered(first: int, last: int, **fields: Any) -> list[Sent]:
    """Records with the numbers as values."""
    return [Sent(b"%d" % number, **fields) for number in range(first, last)]


def once(first: int, last: int) -> dict[bytes, int]:
    """What `Collector.counts` gives if each number was handled once."""
    return {b"%d" % number: 1 for number in range(first, last)}


async def at_least(settings: Settings, topic: str, count: int) -> list[Any]:
    """The records of a topic; none while there are fewer."""
    records = await read_all(settings, topic)
    return records if len(records) >= count else []


async def is_committed(settings: Settings, partition: int, offset: int) -> bool:
    """Whether the group has committed so much of a partition of `jobs`."""
    return (await committed(settings, JOBS, GROUP)).get(partition) == offset
