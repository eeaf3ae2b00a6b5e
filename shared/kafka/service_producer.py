"""The producer of a service: acknowledged by all in-sync replicas, never broken for ever."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

from aiokafka.errors import MessageSizeTooLargeError, ProducerClosed, RecordListTooLargeError  # noqa: TID251 - the layer translates them
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from eldermesh.kafka.errors import KafkaUnavailableError
from eldermesh.kafka.failures import BROKER
from eldermesh.kafka.replacing_producer import Headers, OutgoingRecord, ReplacingProducer
from eldermesh.kafka.whole_producer import WholeProducer
from shared.errors import RecordTooLargeError, RetryableError, StopServiceError
from shared.kafka.connecting import not_connected
from shared.kafka.topics import TOPICS
from shared.settings import Settings

ACKNOWLEDGE_SECONDS = 15.0
"""Longest time for the acknowledgement of one record, or of those of one call."""

TROUBLE_SECONDS = 10.0
"""How long producing to a partition has to fail without a success before `trouble` reports it."""

_LARGEST_BYTES = max(spec.max_message_bytes for spec in TOPICS)
_REQUEST_MS = 10_000


class Producer:
    """Sends records with `acks=all`, idempotently where the broker can; after a failure, over a new aiokafka producer.

    A record that is larger than its topic takes is refused here. A broker that refuses it (its limit may be lower than
    `shared.kafka.topics` says) costs the aiokafka producer, whose sequence it breaks.

    Args:
        settings: where the broker is, its profile, the prefix of topics.
        client_id: as the broker logs it.
        acknowledge_seconds: longest time for the records of one call, and for connecting.
    """

    def __init__(self, settings: Settings, *, client_id: str, acknowledge_seconds: float = ACKNOWLEDGE_SECONDS) -> None:
        self._settings = settings
        self._limits = {settings.topic(spec.name): spec.max_message_bytes for spec in TOPICS}
        self._producer = ReplacingProducer(
            lambda: make_plain_producer(settings, client_id=client_id), acknowledge_seconds=acknowledge_seconds
        )

    async def __aenter__(self) -> Self:
        """`start`."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """`stop`."""
        await self.stop()

    async def start(self) -> None:
        """Connect. Without it the first record does.

        Raises:
            ConfigurationError: the broker refuses this client.
            RetryableError: the broker does not answer.
        """
        try:
            await self._producer.start()
        except KafkaUnavailableError as error:
            raise not_connected(self._settings, error) from error

    async def stop(self) -> None:
        """Disconnect; what is still unacknowledged after some seconds is given up."""
        await self._producer.stop()

    @property
    def trouble(self) -> str | None:
        """For how long Kafka has acknowledged nothing somewhere, though it was asked to; None if that is not long."""
        longest = self._producer.failing.longest()
        if longest is None or longest[1] < TROUBLE_SECONDS:
            return None
        place, seconds = longest
        where = "" if place == BROKER else f" (partition {place.partition} of {place.topic})"
        return f"Kafka has acknowledged no record for {seconds:.0f} s{where}"

    async def send_and_wait(
        self,
        topic: str,
        value: bytes | None,
        *,
        partition: int,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> Any:
        """Send one record to `topic` (its full name); return aiokafka's metadata of it: its offset, its timestamp.

        Raises:
            RecordTooLargeError: refused for its size.
            RetryableError: not acknowledged; whether it was written is unknown.
            StopServiceError: the producer was stopped.
        """
        (metadata,) = await self.send_all([OutgoingRecord(topic, value, key, partition, headers)])
        return metadata

    async def send_all(self, records: Iterable[OutgoingRecord]) -> Sequence[Any]:
        """Send records, those of a partition in their order; return the metadata of each.

        Raises:
            RecordTooLargeError: one was refused for its size; those behind it in its partition were not written.
            RetryableError: one was not acknowledged. Whether it and those behind it were written is unknown.
            StopServiceError: the producer was stopped.
        """
        listed = [record._replace(headers=list(record.headers)) for record in records]
        for record in listed:
            self._check_size(record)
        names = ", ".join(sorted({record.topic for record in listed}))
        try:
            return await self._producer.send_all(listed)
        except KafkaUnavailableError as error:
            if isinstance(error.cause, (MessageSizeTooLargeError, RecordListTooLargeError)):
                message = f"{names} does not take a record of this size: {error.cause}"
                raise RecordTooLargeError(message) from error
            if isinstance(error.cause, ProducerClosed):
                # Not a matter of waiting: somebody stopped it under us.
                raise StopServiceError(f"the producer for {names} was stopped") from error
            raise RetryableError(f"{names} did not acknowledge: {error!r}") from error

    def _check_size(self, record: OutgoingRecord) -> None:
        limit = self._limits.get(record.topic, _LARGEST_BYTES)
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(record.key, record.value, record.headers)
        if size > limit:
            raise RecordTooLargeError(f"{record.topic} takes no record of {size} bytes, but {limit} at most")


def make_plain_producer(settings: Settings, *, client_id: str) -> WholeProducer:
    """An aiokafka producer that is not started yet and stays broken once it is: what `Producer` replaces."""
    return WholeProducer(
        **settings.kafka.options(),
        client_id=client_id,
        acks="all",
        enable_idempotence=settings.broker_profile == "kafka",
        max_request_size=_LARGEST_BYTES,
        linger_ms=0,
        request_timeout_ms=_REQUEST_MS,
    )
