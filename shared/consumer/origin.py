"""What a fact keeps of the inbox record that it was made of."""

from __future__ import annotations

import base64

from shared.consumer.record import LOG_APPEND_TIME, ConsumedRecord
from shared.facts.fact import InboxRecord
from shared.kafka.topics import PUBLIC_RETENTION_MS, SEGMENT_MS

_OLDEST_MS = PUBLIC_RETENTION_MS + SEGMENT_MS
"""No inbox keeps a record longer than this."""


def inbox_of(record: ConsumedRecord) -> InboxRecord:
    """Its coordinates."""
    return InboxRecord(topic=record.topic, partition=record.partition, offset=record.offset)


def key_of(record: ConsumedRecord) -> str | None:
    """Its key, in base 64."""
    return None if record.key is None else _base64(record.key)


def headers_of(record: ConsumedRecord) -> tuple[tuple[str, str], ...]:
    """Its headers, their values in base 64."""
    return tuple((name, _base64(value or b"")) for name, value in record.headers)


def submitted_at(record: ConsumedRecord, now_ms: int) -> int:
    """When the record was published, in milliseconds since 1970.

    Inboxes keep the time that the publisher claims, which may be anything. A time that cannot be true (in the future,
    or before anything the inbox still holds) counts as now.
    """
    if record.timestamp_type == LOG_APPEND_TIME or now_ms - _OLDEST_MS <= record.timestamp_ms <= now_ms:
        return record.timestamp_ms
    return now_ms


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
