"""A producer that is replaced when it has failed, since aiokafka's own may then fail for ever.

aiokafka counts an idempotent producer's sequence on when Kafka refuses a batch, so each later one is out of order; it
sends such a batch again without end, even if nobody waits for it any more; and it never restarts its sending task.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

from aiokafka.errors import (  # noqa: TID251 - the layer translates them
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
)

from eldermesh.kafka.errors import KafkaUnavailableError, translate_errors
from eldermesh.kafka.failures import BROKER, FailingPlaces, Place
from eldermesh.kafka.whole_producer import WholeProducer
from eldermesh.shield import to_its_end

SUSPECT_SECONDS = 5.0
"""A call that is cancelled after waiting so long for an acknowledgement counts as a failure."""

_ANSWERS = (MessageSizeTooLargeError, RecordListTooLargeError)
"""Of a broker that works: it takes others."""

Headers = Iterable[tuple[str, bytes | None]]


class OutgoingRecord(NamedTuple):
    """A record to be sent; `topic` is the full name, `partition` None where aiokafka may choose by the key."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: Headers = ()


class _Generation:
    """One aiokafka producer, and those who wait for it."""

    def __init__(self, client: WholeProducer) -> None:
        self.client = client
        self.users = 0
        self.idle = asyncio.Event()
        self.idle.set()


class ReplacingProducer:
    """Sends records over an aiokafka producer, replaced by a new one after each failure.

    The one that failed is closed in a task, once those who still wait for its other records have their answer; at once
    if it did not answer in time. What failed is never sent by it later.

    Any number of tasks may use it. Records of one call keep their order within a partition: when one fails, those
    behind it do so, too.

    Args:
        make: makes an aiokafka producer that is not started.
        acknowledge_seconds: longest time for the records of one call, and for connecting.
    """

    def __init__(self, make: Callable[[], WholeProducer], *, acknowledge_seconds: float) -> None:
        self._make = make
        self._seconds = acknowledge_seconds
        self._current: _Generation | None = None
        self._connecting: asyncio.Task[_Generation] | None = None
        self._retiring: dict[asyncio.Task[None], _Generation] = {}
        self._is_closed = False
        self.failing = FailingPlaces()

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaUnavailableError: the broker does not answer.
        """
        with translate_errors():
            await self._generation()

    async def stop(self) -> None:
        """Send what waits, and disconnect; what Kafka does not take within some seconds is given up."""
        self._is_closed = True
        await to_its_end(self._stop())

    async def _stop(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._current is not None:
            current, self._current = self._current, None
            await current.client.stop()
        for generation in self._retiring.values():
            generation.idle.set()  # who still waits for it has no more time than its stop
        if self._retiring:
            await asyncio.wait(list(self._retiring))

    async def send_all(self, records: Sequence[OutgoingRecord]) -> list[Any]:
        """Send records; return aiokafka's metadata of each once all in-sync replicas have all of them.

        Raises:
            KafkaUnavailableError: one was not acknowledged. Whether it and those behind it were written is unknown.
        """
        with translate_errors():
            return await self._send_all(records)

    async def _send_all(self, records: Sequence[OutgoingRecord]) -> list[Any]:
        began = time.monotonic()
        generation = await self._generation()
        generation.users += 1
        generation.idle.clear()
        sent: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(self._seconds):
                metadata = await _sent(generation.client, records, sent)
        except TimeoutError as error:
            self.failing.failed(_unacknowledged(records, sent), began)
            await self._broken_off(generation)
            raise KafkaTimeoutError(f"not acknowledged within {self._seconds:g} s") from error
        except KafkaError as error:
            if not isinstance(error, _ANSWERS):
                self.failing.failed(_unacknowledged(records, sent), began)
            self._replace(generation)
            raise
        except asyncio.CancelledError:
            if time.monotonic() - began >= SUSPECT_SECONDS:
                self.failing.failed(_unacknowledged(records, sent), began)
                await self._broken_off(generation)
            raise
        finally:
            generation.users -= 1
            if not generation.users:
                generation.idle.set()
        self.failing.succeeded(_places(records))
        return metadata

    async def _generation(self) -> _Generation:
        if self._is_closed:
            raise ProducerClosed
        if self._current is None:
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._connect(), name="connecting a producer")
                self._connecting.add_done_callback(_see)  # those who asked may all have been cancelled
            connecting = self._connecting
            await asyncio.wait({connecting})
            if connecting.cancelled():
                raise ProducerClosed
            return connecting.result()
        return self._current

    async def _connect(self) -> _Generation:
        began = time.monotonic()
        try:
            client = self._make()
            with translate_errors():
                try:
                    async with asyncio.timeout(self._seconds):
                        await client.start()
                except TimeoutError as error:
                    raise KafkaTimeoutError(f"not connected within {self._seconds:g} s") from error
                except OSError as error:
                    raise KafkaError(f"not connected: {error!r}") from error
            self._current = _Generation(client)
            return self._current
        except KafkaUnavailableError:
            self.failing.failed([BROKER], began)
            raise
        finally:
            self._connecting = None

    async def _broken_off(self, generation: _Generation) -> None:
        """Replace it; on return nothing that waited for it will be sent."""
        self._replace(generation)
        await generation.client.break_off()

    def _replace(self, generation: _Generation) -> None:
        if self._current is not generation:
            return
        self._current = None
        retiring = asyncio.create_task(self._retire(generation), name="closing a failed producer")
        self._retiring[retiring] = generation
        retiring.add_done_callback(self._retired)

    def _retired(self, retiring: asyncio.Task[None]) -> None:
        del self._retiring[retiring]
        _see(retiring)

    async def _retire(self, generation: _Generation) -> None:
        await generation.idle.wait()  # each of them waits so long at most
        await generation.client.stop()


async def _sent(client: WholeProducer, records: Sequence[OutgoingRecord], sent: list[asyncio.Future[Any]]) -> list[Any]:
    """Send records, noting each in `sent`; none is on its way when this raises."""
    failure: KafkaError | None = None
    try:
        for record in records:
            acknowledged = await _send(client, record)
            acknowledged.add_done_callback(partial(_drop_behind, client, record))
            sent.append(acknowledged)
    except KafkaError as error:
        failure = error
    outcomes = await asyncio.gather(*sent, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    if failure is not None:
        raise failure
    return outcomes


def _unacknowledged(records: Sequence[OutgoingRecord], sent: Sequence[asyncio.Future[Any]]) -> set[Place]:
    """Where a record was not acknowledged."""
    return _places(
        record
        for record, acknowledged in zip_longest(records, sent)
        if acknowledged is None
        or not acknowledged.done()
        or acknowledged.cancelled()
        or acknowledged.exception() is not None
    )


def _places(records: Iterable[OutgoingRecord]) -> set[Place]:
    return {Place(record.topic, record.partition) for record in records}


def _see(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def _send(client: WholeProducer, record: OutgoingRecord) -> asyncio.Future[Any]:
    try:
        sent: asyncio.Future[Any] = await client.send(
            record.topic, record.value, key=record.key, partition=record.partition, headers=list(record.headers)
        )
    except AssertionError as error:
        raise UnknownTopicOrPartitionError(f"{record.topic}/{record.partition}: {error}") from error
    return sent


def _drop_behind(client: WholeProducer, record: OutgoingRecord, sent: asyncio.Future[Any]) -> None:
    if not sent.cancelled() and sent.exception() is not None and record.partition is not None:
        client.drop(record.topic, record.partition)
