"""Appends facts to a history from a long-lived process, whatever happens to its producer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from eldermesh.contract.cloudevents import Headers
from shared.errors import RetryableError

_STOP_SECONDS = 5.0

_log = logging.getLogger(__name__)


class FactSink(Protocol):
    """Where facts go."""

    async def append(self, topic: str, partition: int, *, key: str, value: bytes, headers: Headers) -> None:
        """Append one fact; return once all in-sync replicas have it.

        Raises:
            RetryableError: not acknowledged; whether it was written is unknown.
        """
        ...


class FactAppender:
    """`FactSink` over one aiokafka producer, started at the first use and replaced after a failure.

    A producer is not asked again after it failed: an idempotent one fails for ever once its sequence is broken, and
    waits for ever where another would give up.

    Args:
        make_producer: makes a producer that is not started.
        acknowledge_seconds: longest time for one acknowledgement, and for starting a producer.
    """

    def __init__(self, make_producer: Callable[[], AIOKafkaProducer], *, acknowledge_seconds: float = 30.0) -> None:
        self._make_producer = make_producer
        self._acknowledge_seconds = acknowledge_seconds
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._stopping: set[asyncio.Task[None]] = set()

    async def append(self, topic: str, partition: int, *, key: str, value: bytes, headers: Headers) -> None:
        """Append one fact; return once all in-sync replicas have it.

        Raises:
            RetryableError: not acknowledged; whether it was written is unknown.
        """
        producer = await self.start()
        try:
            async with asyncio.timeout(self._acknowledge_seconds):
                await producer.send_and_wait(topic, value, key=key.encode(), partition=partition, headers=list(headers))
        except (KafkaError, TimeoutError) as error:
            self._discard(producer)
            raise RetryableError(f"{topic} did not acknowledge a fact: {error!r}") from error

    async def start(self) -> AIOKafkaProducer:
        """The producer in use, started.

        Raises:
            RetryableError: Kafka cannot be reached.
        """
        async with self._starting:
            if self._producer is None:
                producer = self._make_producer()
                try:
                    async with asyncio.timeout(self._acknowledge_seconds):
                        await producer.start()
                except (KafkaError, TimeoutError, OSError) as error:
                    await _stop(producer)
                    raise RetryableError(f"Kafka cannot be reached: {error!r}") from error
                self._producer = producer
            return self._producer

    async def close(self) -> None:
        """Stop the producer; what is still unacknowledged after some seconds is given up."""
        if self._producer is not None:
            self._discard(self._producer)
        await asyncio.gather(*self._stopping)

    def _discard(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
            task = asyncio.create_task(_stop(producer))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)


async def _stop(producer: AIOKafkaProducer) -> None:
    """Stop a producer that may be unable to flush."""
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await producer.stop()
    except Exception as error:  # noqa: BLE001 - a broken producer raises what broke it once more; it is gone now
        _log.warning("a producer did not stop in order: %r", error)
