"""Appends facts to a history for those who do not own it, as runners do."""

from __future__ import annotations

from typing import Protocol

from eldermesh.contract.cloudevents import Headers
from shared.errors import RecordTooLargeError, RetryableError
from shared.kafka.service_producer import Producer


class FactSink(Protocol):
    """Where facts go."""

    async def append(self, topic: str, partition: int, *, key: str, value: bytes, headers: Headers) -> None:
        """Append one fact; return once all in-sync replicas have it.

        Raises:
            RetryableError: not acknowledged; whether it was written is unknown.
        """


class FactAppender:
    """`FactSink` over a producer, which stays the caller's."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def append(self, topic: str, partition: int, *, key: str, value: bytes, headers: Headers) -> None:
        """As in `FactSink`."""
        try:
            await self._producer.send_and_wait(topic, value, key=key.encode(), partition=partition, headers=headers)
        except RecordTooLargeError as error:
            # Facts are made to fit: the topic of this cluster takes less than `shared.kafka.topics` says.
            raise RetryableError(str(error)) from error
