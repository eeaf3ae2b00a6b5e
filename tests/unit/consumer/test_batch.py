"""Batches that are delivered again: what is known of the first time counts."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any, cast

import pytest

from shared.consumer.backoff import BatchTime
from shared.consumer.batch import BatchRunner
from shared.consumer.brake import Brake, BrakeError, OwnFailureError
from shared.consumer.record import ConsumedRecord
from shared.errors import RetryableError
from tests.unit.consumer.records import consumed


class _Processor:
    """Handles what says `good`, fails on all else; `down` while no dead letter is acknowledged."""

    def __init__(self) -> None:
        self.down = False
        self.given_up: list[bytes | None] = []
        self.failures: list[weakref.ref[OwnFailureError]] = []

    def passes_over(self, _record: ConsumedRecord) -> bool:
        """All are for it."""
        return False

    async def process(self, record: ConsumedRecord, _time: BatchTime) -> bool:
        """Handle a record, or fail on it."""
        if record.value == b"good":
            return True
        failure = OwnFailureError(record, ValueError("a bug"))
        self.failures.append(weakref.ref(failure))
        raise failure

    async def give_up(self, failure: OwnFailureError, _time: BatchTime) -> None:
        """Note it, unless no dead letter is acknowledged."""
        if self.down:
            raise RetryableError("not acknowledged")
        self.given_up.append(failure.record.value)


def _runner(processor: _Processor) -> BatchRunner:
    return BatchRunner(cast("Any", processor), brake=Brake(2))


async def test_what_worked_before_a_dead_letter_failed_keeps_the_brake_off() -> None:
    """Of a batch that comes again only the bad records are left. Its good ones have shown that the code works."""
    processor = _Processor()
    runner = _runner(processor)
    records = [consumed(value, offset=at) for at, value in enumerate((b"1", b"good", b"2"))]
    processor.down = True
    with pytest.raises(RetryableError):
        await runner.run(records)
    processor.down = False
    await runner.run(records)
    assert processor.given_up == [b"1", b"2"]


async def test_what_worked_in_the_batch_before_does_not() -> None:
    """That was committed: now the code fails on all that comes."""
    processor = _Processor()
    runner = _runner(processor)
    good = [consumed(b"good")]
    await runner.run(good)
    runner.committed(good)
    with pytest.raises(BrakeError):
        await runner.run([consumed(value, offset=at) for at, value in enumerate((b"1", b"2"), start=1)])
    assert processor.given_up == []


async def test_failures_with_a_good_record_between_them_do_not_add_up() -> None:
    """Also where each is a batch of its own, and committed."""
    processor = _Processor()
    runner = _runner(processor)
    for at, value in enumerate((b"1", b"good", b"2")):
        batch = [consumed(value, offset=at)]
        await runner.run(batch)
        runner.committed(batch)
    assert processor.given_up == [b"1", b"2"]


async def test_bad_records_of_batches_that_never_end_are_not_kept_without_end() -> None:
    """No dead letter is acknowledged, and records of one partition after another come: each holds its content."""
    processor = _Processor()
    processor.down = True
    runner = BatchRunner(cast("Any", processor), brake=Brake(1_000_000))
    for first in range(0, 3000, 100):
        with pytest.raises(RetryableError):
            await runner.run([consumed(b"bad", offset=at) for at in range(first, first + 100)])
    gc.collect()
    assert len(processor.failures) == 3000
    assert 0 < sum(failure() is not None for failure in processor.failures) <= 1100


async def test_what_ends_after_its_partition_was_given_up_says_nothing_of_what_comes() -> None:
    """The log may have begun anew by then: the record that stands at the same offset is another one."""
    processor = _Slow()
    runner = BatchRunner(cast("Any", processor))
    running = asyncio.create_task(runner.run([consumed(b"before")]))
    await processor.begun.wait()
    runner.forget()
    processor.may_end.set()
    await running
    await runner.run([consumed(b"after")])
    assert processor.handled == [b"before", b"after"]


class _Slow:
    """Handles a record when it may."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.handled: list[bytes | None] = []

    def passes_over(self, _record: ConsumedRecord) -> bool:
        """All are for it."""
        return False

    async def process(self, record: ConsumedRecord, _time: BatchTime) -> bool:
        """Wait, and note it."""
        self.begun.set()
        await self.may_end.wait()
        self.handled.append(record.value)
        return True
