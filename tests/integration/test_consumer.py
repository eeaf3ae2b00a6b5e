"""The consumer for inboxes on real brokers: nothing is lost, only we ourselves stop it, and it says when it is dead."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.partitions import partition_of
from eldermesh.kafka import decompression
from shared.consumer.dead_letter import TRUNCATED_VALUE_BYTES
from shared.consumer.handler import Subscription
from shared.consumer.inbox import DeadLoopError, InboxConsumer
from shared.consumer.record import ConsumedRecord
from shared.errors import RetryableError
from shared.kafka.clients import make_producer
from shared.kafka.topics import JOBS, JOBS_DEAD
from shared.settings import Settings
from tests.fresh_topics import Profile, fresh_topics
from tests.hostile_batches import batch_of, broken_compression, publish_batch, unreadable_header
from tests.inboxes import CODECS, Codec, Sent, committed, publish, read_all
from tests.integration.consuming import GROUP, JOB_ID, Collector, at_least, consuming, is_committed, numbered, once
from tests.waiting import wait_until


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> tuple[str, Profile]:
    """Each broker in turn: its address and profile."""
    profile: Profile = request.param
    return request.getfixturevalue("embedded_broker" if profile == "embedded" else "apache_kafka"), profile


@pytest.fixture
async def settings(broker: tuple[str, Profile]) -> AsyncIterator[Settings]:
    """Topics of their own."""
    async with fresh_topics(*broker) as settings:
        yield settings


@pytest.fixture
async def embedded(embedded_broker: str) -> AsyncIterator[Settings]:
    """Topics of their own on the embedded broker, for what does not depend on the broker."""
    async with fresh_topics(embedded_broker, "embedded") as settings:
        yield settings


class TestEveryBroker:
    async def test_handles_every_record_once_and_sends_the_bad_ones_to_the_dead(self, settings: Settings) -> None:
        """Good and bad records of all sorts of keys: the good are handled, the bad are dead letters with provenance."""
        collector = Collector()
        bad = [
            Sent(b"bad", key=b"a key", partition=1, headers=(("traceparent", b"00-1-2-3"), ("raw", b"\xff\x00"))),
            Sent(b"bad with id", key=None, partition=2),
            Sent(b"bad without key", partition=2),
        ]
        await publish(settings, JOBS, [*numbered(0, 150), *bad, *numbered(150, 300, key=b"same")])

        async with consuming(settings, collector):
            await wait_until(lambda: len(collector.handled) >= 300, description="all good records are handled")
            dead = await wait_until(
                lambda: at_least(settings, JOBS_DEAD, 3), description="all bad records are dead letters"
            )

        assert collector.counts() == once(0, 300)
        by_value = {record.value: record for record in dead}
        provenance = {value: DeadLetterHeaders.decode(record.headers) for value, record in by_value.items()}
        assert by_value.keys() == {b"bad", b"bad with id", b"bad without key"}
        assert by_value[b"bad"].key == b"a key"
        assert by_value[b"bad"].partition == partition_of(b"a key", settings.partition_count)
        assert by_value[b"bad"].headers[-2:] == (("traceparent", b"00-1-2-3"), ("raw", b"\xff\x00"))
        assert provenance[b"bad"] == DeadLetterHeaders(
            settings.topic(JOBS), 1, provenance[b"bad"].offset, "invalid", "begins with bad", b"a key"
        )
        assert by_value[b"bad with id"].key == JOB_ID.encode()
        assert by_value[b"bad with id"].partition == partition_of(JOB_ID, settings.partition_count)
        assert by_value[b"bad without key"].key is None
        assert by_value[b"bad without key"].partition == 2

    @pytest.mark.parametrize("codec", CODECS)
    async def test_reads_batches_of_every_codec(self, settings: Settings, codec: Codec) -> None:
        """A foreign client compresses as it likes."""
        collector = Collector()
        await publish(settings, JOBS, numbered(1000, 1200), codec=codec)
        async with consuming(settings, collector):
            await wait_until(lambda: len(collector.handled) >= 200, description="all are handled")
        assert collector.counts() == once(1000, 1200)

    async def test_survives_any_header(self, settings: Settings) -> None:
        """Bytes that are no UTF-8, null values, repeated names and what the framework would obey: all are handled."""
        headers = (("a", b"\xff\xfe"), ("a", None), ("", b"\x80"), ("reply_to", b"jobs"), ("correlation_id", b"\xc3"))
        collector = Collector()
        await publish(settings, JOBS, [*numbered(0, 5), *numbered(5, 10, headers=headers), *numbered(10, 15)])
        async with consuming(settings, collector):
            await wait_until(lambda: len(collector.handled) >= 15, description="all are handled")
        assert collector.counts() == once(0, 15)
        assert len(await read_all(settings, JOBS)) == 15

    async def test_steps_over_what_cannot_be_read_at_all(self, settings: Settings) -> None:
        """A header *name* that is no UTF-8 makes the library fail at every poll: a dead letter, and on it goes."""
        collector = Collector()
        await publish(settings, JOBS, numbered(0, 5, partition=0))
        await publish_batch(settings, JOBS, 0, unreadable_header([b"broken", b"behind it"]))
        await publish(settings, JOBS, [*numbered(5, 10, partition=0), *numbered(10, 15, partition=1)])

        async with consuming(settings, collector) as consumer:
            await wait_until(lambda: len(collector.handled) >= 15, description="all that can be read are handled")
            assert consumer.is_alive()
            dead = await wait_until(
                lambda: at_least(settings, JOBS_DEAD, 2), description="what cannot be read is a dead letter"
            )

        assert collector.counts() == once(0, 15)
        found = [DeadLetterHeaders.decode(record.headers) for record in dead]
        assert sorted((each.partition, each.offset, each.error_type) for each in found) == [
            (0, 5, "undecodable"),
            (0, 6, "undecodable"),
        ]

    @pytest.mark.parametrize("codec", CODECS[1:])
    async def test_a_batch_that_unpacks_to_too_much(
        self, settings: Settings, codec: Codec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is not unpacked: each of its records is a dead letter, and what fits is read before and behind it."""
        monkeypatch.setattr(decompression, "MAX_BATCH_BYTES", 1_000_000)
        collector = Collector()
        await publish(settings, JOBS, numbered(0, 5, partition=0), codec=codec)
        await publish_batch(settings, JOBS, 0, batch_of([bytes(600_000)] * 2, codec=codec))
        await publish(settings, JOBS, numbered(5, 10, partition=0), codec=codec)
        async with consuming(settings, collector) as consumer:
            await wait_until(lambda: len(collector.handled) >= 10, description="all that fits is handled")
            assert consumer.is_alive()
            dead = await wait_until(
                lambda: at_least(settings, JOBS_DEAD, 2), description="what does not is a dead letter"
            )
        assert collector.counts() == once(0, 10)
        found = [DeadLetterHeaders.decode(record.headers) for record in dead]
        assert sorted((each.offset, each.error_type) for each in found) == [(5, "too_large"), (6, "too_large")]
        assert "1000000 bytes when decompressed" in found[0].reason

    async def test_what_was_not_finished_at_the_stop_comes_again(self, settings: Settings) -> None:
        """Stopped in the midst of a batch that does not finish: the next one handles all that was not committed."""
        first, second = Collector(), Collector()
        stuck = asyncio.Event()
        first.before = lambda value: stuck.wait() if value == b"30" else None
        await publish(settings, JOBS, numbered(0, 300))

        impatient = settings.model_copy(update={"drain_seconds": 0.2})
        async with consuming(impatient, first):
            await wait_until(lambda: b"30" in first.running, description="the stuck record runs")
        async with consuming(settings, second):
            await wait_until(
                lambda: {*first.handled, *second.handled} == once(0, 300).keys(), description="all are handled"
            )
        assert b"30" in second.handled

    async def test_a_stop_finishes_and_commits_the_batch_at_hand(self, settings: Settings) -> None:
        """Drained: what runs is finished, committed, and does not come again."""
        first, second = Collector(), Collector()
        gate = asyncio.Event()
        first.before = lambda _: gate.wait()
        await publish(settings, JOBS, numbered(0, 40, partition=0))
        async with consuming(settings, first) as consumer:
            await wait_until(lambda: first.running, description="the batch runs")
            stopping = asyncio.create_task(consumer.stop())
            gate.set()
            await stopping
        assert first.counts() == once(0, 40)
        await publish(settings, JOBS, numbered(40, 41, partition=0))
        async with consuming(settings, second):
            await wait_until(lambda: second.handled, description="the new record is handled")
        assert second.counts() == once(40, 41)

    async def test_partitions_move_after_the_batch_at_hand(self, settings: Settings) -> None:
        """A second member joins while a batch runs: it is finished and committed before partitions move."""
        first, second = Collector(), Collector()
        gate = asyncio.Event()
        first.before = lambda _: gate.wait()
        await publish(settings, JOBS, [*numbered(0, 20, partition=0), *numbered(20, 40, partition=1)])
        async with consuming(settings, first) as one, AsyncExitStack() as stack:
            await wait_until(lambda: len(first.running) >= 20, description="a batch runs")
            joining = asyncio.create_task(stack.enter_async_context(consuming(settings, second)))
            await wait_until(lambda: _is_revoking(one), description="the first member is asked for its partitions")
            gate.set()
            two = await joining
            await wait_until(lambda: _shared_out(one, two), description="both have partitions")
            await publish(settings, JOBS, [Sent(b"%d" % number, partition=number % 3) for number in range(40, 100)])
            await wait_until(lambda: len(first.handled) + len(second.handled) >= 100, description="all are handled")
        assert second.handled != []
        assert dict(Counter(first.handled + second.handled)) == once(0, 100)


class TestUnreadableBatches:
    @pytest.mark.parametrize("codec", CODECS[1:])
    async def test_broken_compression(self, embedded: Settings, codec: Codec) -> None:
        """Each record of the batch is a dead letter, and the batch is tried once, not for each of them."""
        collector = Collector()
        await publish_batch(embedded, JOBS, 0, broken_compression([b"x"] * 1000, codec))
        await publish(embedded, JOBS, numbered(0, 5, partition=0))
        async with consuming(embedded, collector):
            await wait_until(lambda: len(collector.handled) >= 5, description="what follows is handled")
            dead = await wait_until(lambda: at_least(embedded, JOBS_DEAD, 1000), description="all are dead letters")
        found = [DeadLetterHeaders.decode(record.headers) for record in dead]
        assert sorted((each.offset, each.error_type) for each in found) == [
            (offset, "undecodable") for offset in range(1000)
        ]


class TestLanes:
    async def test_one_key_in_order_and_other_keys_beside_it(self, embedded: Settings) -> None:
        """Records of a key wait for one another; a record of another key and one without a key do not wait."""
        collector = Collector()
        gate = asyncio.Event()
        collector.before = lambda value: gate.wait() if value == b"0" else None
        records = [*numbered(0, 10, key=b"slow", partition=0), *numbered(10, 20, key=b"other", partition=0)]
        await publish(embedded, JOBS, [*records, *numbered(20, 30, partition=0)])
        async with consuming(embedded, collector):
            await wait_until(lambda: len(collector.handled) >= 20, description="all but the slow key's are handled")
            assert not once(0, 10).keys() & set(collector.handled)
            gate.set()
            await wait_until(lambda: len(collector.handled) >= 30, description="all are handled")
        for first in (0, 10):
            lane = [value for value in collector.handled if first <= int(value) < first + 10]
            assert lane == [b"%d" % number for number in range(first, first + 10)]

    async def test_no_more_lanes_at_once_than_allowed(self, embedded: Settings) -> None:
        """Concurrency is bounded."""
        collector = Collector()
        collector.before = lambda _: asyncio.sleep(0)
        await publish(embedded, JOBS, numbered(0, 60, partition=0))
        async with consuming(embedded, collector, concurrency=4):
            await wait_until(lambda: len(collector.handled) >= 60, description="all are handled")
        assert 1 < collector.most_running <= 4


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


@pytest.mark.kafka
async def test_a_dead_letter_that_is_too_large_is_truncated(apache_kafka: str) -> None:
    """Kafka refuses it for its size: hash, coordinates, reason and trace context stay, and so does the beginning."""
    async with fresh_topics(apache_kafka, "kafka") as settings:
        value = b"bad" + b"x" * 400_000
        key = b"k" * 600_000
        headers = (("big", b"h" * 20_000), ("traceparent", b"00-1-2-3"))
        await publish(settings, JOBS, [Sent(value, key=key, headers=headers, partition=1), *numbered(0, 3)])
        collector = Collector()
        async with consuming(settings, collector):
            (dead,) = await wait_until(
                lambda: at_least(settings, JOBS_DEAD, 1), description="the record is a dead letter"
            )
            await wait_until(lambda: len(collector.handled) >= 3, description="the others are handled")
        assert dead.value == value[:TRUNCATED_VALUE_BYTES]
        assert dead.header("dlq_truncated_bytes") == str(len(value))
        assert len(dead.header("dlq_sha256") or "") == 64
        assert dead.header("traceparent") == "00-1-2-3"
        assert dead.header("big") is None
        assert dead.key == key[:1024]
        assert DeadLetterHeaders.decode(dead.headers).partition == 1


@pytest.mark.kafka
@pytest.mark.parametrize("letter_bytes", [1_306_000, 1_312_000, 1_350_000, 1_398_000])
async def test_what_follows_a_dead_letter_of_any_size_is_published(apache_kafka: str, letter_bytes: int) -> None:
    """Whole as long as `jobs.dead` takes it, else truncated; the next letter of the same partition goes through.

    A record that the broker, not the client, refuses for its size breaks the sequence of an idempotent producer.
    """
    async with fresh_topics(apache_kafka, "kafka") as settings:
        key = b"k" * 375_000  # it is in a letter twice
        large = b"bad" + b"x" * (letter_bytes - 2 * len(key) - 3)
        bad = [Sent(value, key=key, partition=1) for value in (b"bad before", large, b"bad next")]
        await publish(settings, JOBS, bad)
        async with consuming(settings, Collector()):
            letters = await wait_until(
                lambda: at_least(settings, JOBS_DEAD, 3), description="all records are dead letters"
            )
    _, first, second = sorted(letters, key=lambda letter: DeadLetterHeaders.decode(letter.headers).offset)
    assert second.value == b"bad next"
    if letter_bytes < 1_310_000:
        assert first.value == large
    else:
        assert first.value == large[:TRUNCATED_VALUE_BYTES]
        assert first.header("dlq_sha256") == hashlib.sha256(large).hexdigest()


def _is_revoking(consumer: InboxConsumer) -> bool:
    listener: Any = consumer.broker.subscribers[0]._listener  # type: ignore[attr-defined]  # noqa: SLF001
    return bool(listener.runner.giving_up.is_set())


def _shared_out(one: InboxConsumer, two: InboxConsumer) -> bool:
    return all(
        consumer.broker.subscribers[0].consumer.assignment()  # type: ignore[attr-defined]
        for consumer in (one, two)
    )


async def test_records_that_are_none_of_the_handlers_are_committed_unread(embedded: Settings) -> None:
    """Not even decoded, so a bad one among them is no dead letter."""
    collector = Collector()
    await publish(embedded, JOBS, [Sent(b"bad", partition=0), *numbered(0, 20, partition=0)])

    def passes_over(record: ConsumedRecord) -> bool:
        return not (record.value or b"").endswith(b"7")

    async with consuming(embedded, collector, passes_over):
        await wait_until(lambda: is_committed(embedded, 0, 21), description="all are committed")
    assert collector.counts() == {b"7": 1, b"17": 1}
    assert await read_all(embedded, JOBS_DEAD) == []
