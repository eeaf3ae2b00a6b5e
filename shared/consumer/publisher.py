"""Publishing with the decision that follows a failure: acknowledged, try again, or too large."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed, RecordListTooLargeError

from shared.errors import MeshError, RetryableError


class RecordTooLargeError(MeshError):
    """The broker (or the client, for the broker's sake) will never take a record of this size."""


class RecordPublisher:
    """Publishes records one by one and awaits their acknowledgement by all in-sync replicas.

    Args:
        producer: a started producer of `shared.broker.make_producer`; it stays the caller's.
    """

    def __init__(self, producer: Any) -> None:
        self._producer = producer

    async def publish(
        self,
        topic: str,
        partition: int,
        *,
        key: bytes | None,
        value: bytes,
        headers: Iterable[tuple[str, bytes]],
    ) -> int:
        """Publish to `topic` (its full name) and return the offset.

        Raises:
            RecordTooLargeError: refused for its size.
            RetryableError: not acknowledged; whether it was written is unknown.
        """
        try:
            metadata = await self._producer.send_and_wait(
                topic, value, key=key, partition=partition, headers=list(headers)
            )
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            raise RecordTooLargeError(f"{topic} does not take a record of {len(value)} bytes: {error}") from error
        except ProducerClosed:
            # Not a matter of waiting: somebody closed it under us.
            raise
        except KafkaError as error:
            raise RetryableError(f"{topic} did not acknowledge a record: {error!r}") from error
        offset: int = metadata.offset
        return offset
