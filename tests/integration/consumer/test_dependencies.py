"""What the consumer does while something that it depends on is down, and how it says that it is dead itself."""

from __future__ import annotations

import asyncio

import pytest

from shared.consumer.handler import Subscription
from shared.consumer.inbox import DeadLoopError, InboxConsumer
from shared.errors import RetryableError
from shared.kafka.clients import make_producer
from shared.kafka.topics import JOBS
from shared.settings import Settings
from tests.inboxes import committed, publish
from tests.integration.consumer.consuming import (
    GROUP,
    Collector,
    consuming,
    is_committed,
    numbered,
    once,
)
from tests.waiting import wait_until


class TestTrouble:
    async def test_a_dependency_that_comes_back(self, embedded: Settings) -> None:
        """Retryable, a few times: tried again within the batch, and nothing is repeated."""
        collector = Collector()
        failures = iter([RetryableError("down")] * 3)

        def fail_thrice(value: bytes) -> None:
            if value == b"5" and (failure := next(failures, None)):
                raise failure

        collector.before = fail_thrice
        await publish(embedded, JOBS, numbered(0, 10))
        async with consuming(embedded, collector):
            await wait_until(lambda: len(collector.handled) >= 10, description="all are handled")
        assert collector.counts() == once(0, 10)
        assert next(failures, None) is None

    async def test_a_dependency_that_is_down_for_longer_than_a_batch(self, embedded: Settings) -> None:
        """The batch is rewound, nothing of it is committed; what was done of it is not done again."""
        collector = Collector()
        attempts: list[bytes] = []
        up = asyncio.Event()

        def fail_while_down(value: bytes) -> None:
            if value == b"5":
                attempts.append(value)
                if not up.is_set():
                    raise RetryableError("down")

        collector.before = fail_while_down
        await publish(embedded, JOBS, numbered(0, 10, partition=0))
        async with consuming(embedded, collector, batch_seconds=0.3) as consumer:
            await wait_until(lambda: len(attempts) > 12, description="the batch was rewound")
            assert await committed(embedded, JOBS, GROUP) == {}
            assert consumer.is_alive()
            up.set()
            await wait_until(lambda: len(collector.handled) >= 10, description="all are handled")
            await wait_until(
                lambda: is_committed(embedded, 0, 10), description="the batch is committed", interval_seconds=0.2
            )
        assert collector.counts() == once(0, 10)

    async def test_slow_records_make_progress(self, embedded: Settings) -> None:
        """Records of one key that together take longer than a batch may: each rewind goes on where the last ended."""
        collector = Collector()
        collector.before = lambda _: asyncio.sleep(0.04)
        await publish(embedded, JOBS, numbered(0, 20, key=b"slow", partition=0))
        async with consuming(embedded, collector, batch_seconds=0.2):
            await wait_until(
                lambda: is_committed(embedded, 0, 20), description="all are committed", interval_seconds=0.2
            )
        assert once(0, 20).keys() == collector.counts().keys()

    async def test_a_dead_loop_is_noticed(self, embedded: Settings) -> None:
        """A cancelled consume loop ends silently in the framework: liveness says so, and the consumer stops."""
        async with consuming(embedded, Collector()) as consumer:
            assert consumer.is_alive()
            (task,) = consumer.broker.subscribers[0].tasks  # type: ignore[attr-defined]
            task.cancel()
            async with asyncio.timeout(60):
                assert isinstance(await consumer.wait_failed(), DeadLoopError)
            assert not consumer.is_alive()

    async def test_a_watch_that_fails_is_a_failure(self, embedded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever waits for the consumer's failure is told, since nobody would see another one."""
        async with consuming(embedded, Collector()) as consumer:

            def fails(_: object) -> None:
                raise ZeroDivisionError

            monkeypatch.setattr("shared.consumer.alarm.DeadLetterAlarm.speak", fails)
            async with asyncio.timeout(60):
                assert "ZeroDivisionError" in str(await consumer.wait_failed())
            assert not consumer.is_alive()

    async def test_nobody_is_alive_before_the_start_and_after_the_stop(self, embedded: Settings) -> None:
        """Alive is between start and stop; a second stop does no harm."""
        producer = make_producer(embedded)
        await producer.start()
        consumer = InboxConsumer(embedded, [Subscription(JOBS, GROUP, Collector())], producer)
        assert not consumer.is_alive()
        await consumer.start()
        assert consumer.is_alive()
        await consumer.stop()
        await consumer.stop()
        assert not consumer.is_alive()
        await producer.stop()

    async def test_a_broker_that_does_not_answer(self, embedded: Settings) -> None:
        """The start fails with the decision that follows, and leaves nothing behind."""
        nowhere = embedded.model_copy(update={"kafka_bootstrap": "127.0.0.1:9"})
        consumer = InboxConsumer(nowhere, [Subscription(JOBS, GROUP, Collector())], make_producer(nowhere))
        with pytest.raises(RetryableError, match=r"127\.0\.0\.1:9"):
            await consumer.start()
        assert not consumer.is_alive()
