"""Failures of our own code: one costs its record alone; one that comes whatever the record is stops the consumer."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from eldermesh.contract.deadletters import DeadLetterHeaders
from shared.consumer.brake import BRAKE_RECORDS, Brake, BrakeError
from shared.consumer.handler import Subscription
from shared.consumer.record import ConsumedRecord
from shared.kafka.topics import JOBS, JOBS_DEAD, JOBS_DECISIONS
from shared.settings import Settings
from tests.inboxes import Sent, publish, read_all
from tests.integration.consumer.consuming import (
    GROUP,
    Collector,
    at_least,
    consuming,
    consuming_of,
    is_committed,
    numbered,
    once,
)
from tests.waiting import wait_until


class Panic(BaseException):
    """A BaseException of a native extension."""


@pytest.mark.parametrize(
    "failure",
    [
        ValueError("a bug"),
        asyncio.CancelledError("from inside"),
        SystemExit("a bug"),
        KeyboardInterrupt("a bug"),
        Panic("a bug"),
    ],
)
async def test_a_failure_of_our_own_costs_its_record_alone(embedded: Settings, failure: BaseException) -> None:
    """After three attempts it is a dead letter `internal` that quotes nothing; all others are handled, once."""
    collector = Collector()
    attempts: list[bytes] = []

    def fail(value: bytes) -> None:
        if value == b"5":
            attempts.append(value)
            raise failure

    collector.before = fail
    await publish(embedded, JOBS, numbered(0, 10, partition=0))
    async with consuming(embedded, collector) as consumer:
        (letter,) = await wait_until(
            lambda: at_least(embedded, JOBS_DEAD, 1), description="the record is a dead letter"
        )
        await wait_until(
            lambda: is_committed(embedded, 0, 10), description="the batch is committed", interval_seconds=0.2
        )
        assert consumer.is_alive()
    assert collector.counts() == {value: 1 for value in once(0, 10) if value != b"5"}
    assert len(attempts) == 3
    headers = DeadLetterHeaders.decode(letter.headers)
    assert (letter.value, headers.error_type, headers.offset) == (b"5", "internal", 5)
    assert "a bug" not in headers.reason


@pytest.mark.parametrize(
    "failure", [RecursionError("deep"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError("no task's")]
)
async def test_a_judge_that_raises_costs_its_record_alone(embedded: Settings, failure: BaseException) -> None:
    """Whatever it is, also for a record that is judged on a thread."""
    large = b"7" * 20_000

    class Judge(Collector):
        def decode(self, record: ConsumedRecord) -> bytes:
            if record.value in (b"5", large):
                raise failure
            return super().decode(record)

    collector = Judge()
    await publish(embedded, JOBS, [*numbered(0, 10, partition=0), Sent(large, partition=0)])
    async with consuming(embedded, collector) as consumer:
        letters = await wait_until(lambda: at_least(embedded, JOBS_DEAD, 2), description="both are dead letters")
        await wait_until(lambda: len(collector.handled) >= 9, description="the others are handled")
        assert consumer.is_alive()
    assert {letter.value for letter in letters} == {b"5", large}
    assert {DeadLetterHeaders.decode(letter.headers).error_type for letter in letters} == {"internal"}


@pytest.mark.parametrize("failure", [ValueError("a bug"), SystemExit(3), asyncio.CancelledError("no task's")])
@pytest.mark.parametrize("part", ["root_trace_id", "passes_over"])
async def test_any_part_of_a_handler_that_raises_costs_its_record_alone(
    embedded: Settings, part: str, failure: BaseException
) -> None:
    """Before the record is judged, and between that and its span."""

    def fail(raising: str, value: bytes | None) -> None:
        if (raising, value) == (part, b"5"):
            raise failure

    class Failing(Collector):
        def root_trace_id(self, decoded: bytes) -> str | None:
            fail("root_trace_id", decoded)
            return super().root_trace_id(decoded)

    def passes_over(record: ConsumedRecord) -> bool:
        fail("passes_over", record.value)
        return False

    collector = Failing()
    await publish(embedded, JOBS, numbered(0, 10, partition=0))
    async with consuming(embedded, collector, passes_over) as consumer:
        (letter,) = await wait_until(
            lambda: at_least(embedded, JOBS_DEAD, 1), description="the record is a dead letter"
        )
        await wait_until(
            lambda: is_committed(embedded, 0, 10), description="the batch is committed", interval_seconds=0.2
        )
        assert consumer.is_alive()
    assert (letter.value, DeadLetterHeaders.decode(letter.headers).error_type) == (b"5", "internal")
    assert collector.counts() == {value: 1 for value in once(0, 10) if value != b"5"}


async def test_judging_a_large_record_does_not_hold_up_the_others(embedded: Settings) -> None:
    """While one is judged on its thread, all others are handled."""
    large, judged = b"7" * 20_000, threading.Event()

    class Judge(Collector):
        def decode(self, record: ConsumedRecord) -> bytes:
            if record.value == large:
                assert judged.wait(60)
            return super().decode(record)

    collector = Judge()
    await publish(embedded, JOBS, [Sent(large, partition=0), *numbered(0, 10, partition=0)])
    try:
        async with consuming(embedded, collector):
            await wait_until(lambda: len(collector.handled) >= 10, description="the others are handled")
            assert large not in collector.handled
            judged.set()
            await wait_until(lambda: large in collector.handled, description="the large one is handled")
    finally:
        judged.set()


async def test_code_that_fails_on_whatever_comes_pulls_the_brake(embedded: Settings) -> None:
    """The same failure on many different records in a row: the consumer stops, and says why."""
    broken, mended = Collector(), Collector()

    def fail(value: bytes) -> None:
        raise ValueError(value)

    broken.before = fail
    await publish(embedded, JOBS, numbered(0, BRAKE_RECORDS, partition=0))
    async with consuming(embedded, broken) as consumer:
        async with asyncio.timeout(60):
            reason = await consumer.wait_failed()
        assert isinstance(reason, BrakeError)
        assert not consumer.is_alive()
    given_up = {record.value for record in await read_all(embedded, JOBS_DEAD)}
    assert len(given_up) < BRAKE_RECORDS  # those of a first batch that was smaller
    async with consuming(embedded, mended):
        await wait_until(
            lambda: given_up | {*mended.handled} == once(0, BRAKE_RECORDS).keys(),
            description="all others are handled after the repair",
        )


async def test_a_sender_of_bad_records_does_not_pull_it(embedded: Settings) -> None:
    """Many that fail alike, with good ones among them or one content again and again: dead letters, no more."""
    collector = Collector()

    def fail(value: bytes) -> None:
        if value.startswith((b"1", b"poison")):
            raise ValueError(value)

    collector.before = fail
    repeated = [Sent(b"poison", partition=1)] * (BRAKE_RECORDS + 10)
    await publish(embedded, JOBS, [*numbered(100, 190, partition=0), *numbered(200, 205, partition=0), *repeated])
    async with consuming(embedded, collector) as consumer:
        await wait_until(lambda: len(collector.handled) >= 5, description="the good ones are handled")
        await wait_until(
            lambda: at_least(embedded, JOBS_DEAD, 90 + len(repeated)), description="the bad ones are dead letters"
        )
        assert consumer.is_alive()


async def test_a_good_record_of_another_subscription_of_the_same_code_releases_it(embedded: Settings) -> None:
    """Two inboxes that share a brake: who sends only bad records stops nobody while another's are handled."""
    collector, brake = Collector(), Brake()

    def fail(value: bytes) -> None:
        if value != b"good":
            raise ValueError(value)

    collector.before = fail
    subscriptions = [Subscription(topic, GROUP, collector, brake=brake) for topic in (JOBS, JOBS_DECISIONS)]
    async with consuming_of(embedded, subscriptions) as consumer:
        for last in (BRAKE_RECORDS - 1, 2 * (BRAKE_RECORDS - 1)):
            await publish(embedded, JOBS, numbered(last - BRAKE_RECORDS + 1, last, partition=0))
            await wait_until(partial(at_least, embedded, JOBS_DEAD, last), description="the bad ones are dead letters")
            await publish(embedded, JOBS_DECISIONS, [Sent(b"good", partition=0)])
            await wait_until(lambda: b"good" in collector.handled, description="the good one is handled")
            collector.handled.clear()
        assert consumer.is_alive()
