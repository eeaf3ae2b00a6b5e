"""An inbox that is handled by rank, on a real broker: what comes later, what fails, and members that come and go."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiokafka import TopicPartition

from shared.consumer import read_ahead
from shared.consumer.inbox import InboxConsumer
from shared.consumer.read_ahead import BATCH_RECORDS
from shared.consumer.record import ConsumedRecord
from shared.errors import RetryableError
from shared.history.owner_parts import Rank
from shared.kafka.topics import JOBS
from shared.settings import Settings
from tests.inboxes import Sent, committed, publish
from tests.integration.consumer.consuming import GROUP, Collector, consuming, is_committed, numbered, once
from tests.waiting import wait_until


def _ranking(record: ConsumedRecord, order: int) -> Rank:
    """What begins with `urgent` comes first."""
    return Rank(0 if (record.value or b"").startswith(b"urgent") else 3, order)


def _client(consumer: InboxConsumer) -> Any:
    return consumer.broker.subscribers[0].consumer  # type: ignore[attr-defined]


async def test_what_comes_meanwhile_and_is_more_urgent_comes_next(embedded: Settings) -> None:
    """It waits for the batch at hand, whatever else was read before it."""
    collector, gate = Collector(), asyncio.Event()
    collector.before = lambda _: gate.wait()
    await publish(embedded, JOBS, numbered(0, 200, partition=0))
    async with consuming(embedded, collector, ranking=_ranking) as consumer:
        await wait_until(lambda: len(collector.running) == BATCH_RECORDS, description="the first batch runs")
        await publish(embedded, JOBS, [Sent(b"urgent", partition=0)])
        inbox = TopicPartition(embedded.topic(JOBS), 0)
        await wait_until(lambda: _client(consumer).highwater(inbox) == 201, description="the urgent one is fetched")
        gate.set()
        await wait_until(lambda: len(collector.handled) == 201, description="all are handled")
        await wait_until(lambda: is_committed(embedded, 0, 201), description="all are committed")
    assert collector.handled[BATCH_RECORDS] == b"urgent"
    assert collector.counts() == once(0, 200) | {b"urgent": 1}


async def test_what_fails_waits_again_and_is_committed_last(embedded: Settings) -> None:
    """Others go on beside it, each is handled once; nothing behind it is committed before it."""
    collector = Collector()
    fails = True

    def before(value: bytes) -> None:
        if value == b"3" and fails:
            raise RetryableError("not now")

    collector.before = before
    await publish(embedded, JOBS, [*numbered(0, 60, partition=0), Sent(b"urgent", partition=0)])
    async with consuming(embedded, collector, ranking=_ranking, batch_seconds=0.2):
        await wait_until(lambda: len(collector.handled) >= BATCH_RECORDS, description="those beside it are handled")
        assert (await committed(embedded, JOBS, GROUP)).get(0, 0) <= 3
        fails = False
        await wait_until(lambda: is_committed(embedded, 0, 61), description="all are committed")
    assert collector.counts() == once(0, 60) | {b"urgent": 1}


async def test_a_full_inbox_is_read_on_when_there_is_room(embedded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little is held at a time: all is handled, and committed."""
    monkeypatch.setattr(read_ahead, "MOST_RECORDS", 12)
    monkeypatch.setattr(read_ahead, "MOST_BYTES", 100)
    collector = Collector()
    await publish(embedded, JOBS, [*numbered(0, 700, partition=0), *numbered(700, 800, partition=1)])
    async with consuming(embedded, collector, ranking=_ranking):
        await wait_until(lambda: is_committed(embedded, 0, 700), description="one partition is done")
        await wait_until(lambda: is_committed(embedded, 1, 100), description="the other one is done")
    assert collector.counts() == once(0, 800)


async def test_what_was_read_ahead_goes_to_whoever_has_the_partition_next(embedded: Settings) -> None:
    """A second member joins while a batch of the first one runs: what that had only read, is not handled twice."""
    first, second, gate = Collector(), Collector(), asyncio.Event()
    first.before = lambda _: gate.wait()
    await publish(embedded, JOBS, [*numbered(0, 100, partition=0), *numbered(100, 200, partition=1)])
    async with consuming(embedded, first, ranking=_ranking) as one, AsyncExitStack() as stack:
        await wait_until(lambda: len(first.running) == BATCH_RECORDS, description="a batch runs")
        joining = asyncio.create_task(stack.enter_async_context(consuming(embedded, second, ranking=_ranking)))
        listener: Any = one.broker.subscribers[0]._listener  # type: ignore[attr-defined]  # noqa: SLF001
        await wait_until(listener.runner.giving_up.is_set, description="the first is asked for its partitions")
        gate.set()
        await joining
        await wait_until(lambda: len(first.handled) + len(second.handled) >= 200, description="all are handled")
    assert first.counts().keys() | second.counts().keys() == once(0, 200).keys()
    assert len(first.handled) + len(second.handled) == 200
