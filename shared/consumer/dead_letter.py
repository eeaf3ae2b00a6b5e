"""Dead letters: the original bytes with provenance, published and acknowledged before the record is passed over."""

from __future__ import annotations

import hashlib

from eldermesh.contract.cloudevents import Headers
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.partitions import partition_of
from shared.consumer.record import ConsumedRecord
from shared.errors import DeadLetterError, RecordTooLargeError
from shared.kafka.service_producer import Producer
from shared.kafka.topics import JOBS_DEAD
from shared.settings import Settings

TRUNCATED_VALUE_BYTES = 64 * 1024
"""What is kept of a value whose dead letter would be too large for the topic."""

_KEPT_HEADER_BYTES = 1024
"""Larger original headers are left out of a truncated dead letter; smaller ones stay while there is room."""

_KEPT_HEADERS_BYTES = 16 * 1024
_KEPT_FIRST = frozenset({"traceparent", "tracestate", "ce_id", "ce_type", "ce_source", "content-type"})


class DeadLetterPublisher:
    """Publishes dead letters to `jobs.dead`."""

    def __init__(self, producer: Producer, settings: Settings) -> None:
        self._producer = producer
        self._topic = settings.topic(JOBS_DEAD)
        self._partitions = settings.partition_count

    async def publish(self, record: ConsumedRecord, error: DeadLetterError) -> None:
        """Publish the dead letter of a record and await its acknowledgement.

        Its key is the job's id where that is known, else the original key. If it is too large for the topic, the
        value (and a large key) is truncated: hash, coordinates, reason and trace context stay.

        Raises:
            RetryableError: not acknowledged.
        """
        key = error.job_id.encode() if error.job_id is not None else record.key
        value = record.value if record.value is not None else b""
        try:
            await self._publish(record, key, value, _provenance(record, error, record.key).encode(record.headers))
        except RecordTooLargeError:
            short_key = record.key if record.key is None else record.key[:_KEPT_HEADER_BYTES]
            headers = _provenance(record, error, short_key).encode(_headers_that_fit(record))
            headers.append(("dlq_truncated_bytes", str(len(value)).encode()))
            headers.append(("dlq_sha256", hashlib.sha256(value).hexdigest().encode()))
            key = key if error.job_id is not None else short_key
            await self._publish(record, key, value[:TRUNCATED_VALUE_BYTES], headers)

    async def _publish(self, record: ConsumedRecord, key: bytes | None, value: bytes, headers: Headers) -> None:
        # Without a key the letters of one source partition stay together, in order.
        partition = record.partition % self._partitions if key is None else partition_of(key, self._partitions)
        await self._producer.send_and_wait(self._topic, value, key=key, partition=partition, headers=headers)


def _provenance(record: ConsumedRecord, error: DeadLetterError, key: bytes | None) -> DeadLetterHeaders:
    return DeadLetterHeaders(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        error_type=error.error_type,
        reason=error.reason,
        key=key,
    )


def _headers_that_fit(record: ConsumedRecord) -> list[tuple[str, bytes | None]]:
    room = _KEPT_HEADERS_BYTES
    kept: list[tuple[str, bytes | None]] = []
    for name, value in sorted(record.headers, key=lambda header: header[0] not in _KEPT_FIRST):
        size = len(name.encode()) + len(value or b"")
        if size <= min(_KEPT_HEADER_BYTES, room):
            room -= size
            kept.append((name, value))
    return kept
