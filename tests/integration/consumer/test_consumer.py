"""The consumer for inboxes on real brokers: nothing is lost, only we ourselves stop it, and it says when it is dead."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.partitions import partition_of
from eldermesh.kafka import decompression
from shared.consumer.inbox import InboxConsumer
from shared.consumer.record import ConsumedRecord
from shared.kafka.topics import JOBS, JOBS_DEAD
from shared.settings import Settings
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.hostile_batches import batch_of, broken_compression, publish_batch, unreadable_header
from tests.inboxes import CODECS, Codec, Sent, publish, read_all
from tests.integration.consumer.consuming import (
    JOB_ID,
    Collector,
    at_least,
    consuming,
    is_committed,
    numbered,
    once,
)
from tests.waiting import wait_until


@pytest.fixture
async def settings(any_broker: AnyBroker) -> AsyncIterator[Settings]:
    """Topics of their own."""
    async with fresh_topics(*any_broker) as settings:
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


async def test_records_of_which_nothing_is_to_be_done_are_committed(embedded: Settings) -> None:
    """A handler says so by decoding them to nothing."""

    class Choosy(Collector):
        def decode(self, record: ConsumedRecord) -> bytes | None:  # type: ignore[override]  # a collector wants all
            value = super().decode(record)
            return value if value.endswith(b"7") else None

    collector = Choosy()
    await publish(embedded, JOBS, [Sent(b"bad", partition=0), *numbered(0, 20, partition=0)])
    async with consuming(embedded, collector):
        await wait_until(lambda: is_committed(embedded, 0, 21), description="all are committed")
    assert collector.counts() == {b"7": 1, b"17": 1}
    assert len(await read_all(embedded, JOBS_DEAD)) == 1
