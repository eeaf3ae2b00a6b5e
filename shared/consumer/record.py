"""A consumed record, whose `repr` never shows its payload, and what a fact that is made of it keeps."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from eldermesh.contract.cloudevents import header_text
from eldermesh.kafka.unreadable import Unreadable
from shared.facts.fact import InboxRecord
from shared.kafka.topics import PUBLIC_RETENTION_MS, SEGMENT_MS

LOG_APPEND_TIME = 1
"""Kafka's `timestamp_type` of a record whose time was set by the broker, not by the publisher."""

LARGE_BYTES = 16 * 1024
"""A larger record is judged on a thread, and the event loop runs after each one that is looked at."""


@dataclass(frozen=True, slots=True)
class ConsumedRecord:
    """One record as it came.

    `topic` carries the environment's prefix, `inbox` is its name without it. `timestamp_ms` is the publisher's claim
    unless `timestamp_type` is `LOG_APPEND_TIME`. `unreadable` says why the client could not read the record's bytes
    at all (key, value and headers are absent then); it is None for every other record.
    """

    topic: str
    inbox: str
    partition: int
    offset: int
    timestamp_ms: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    unreadable: Unreadable | None = None

    @classmethod
    def of(cls, raw: Any, *, prefix: str) -> ConsumedRecord:
        """Take over an aiokafka `ConsumerRecord` of a topic whose name begins with `prefix`."""
        return cls(
            topic=raw.topic,
            inbox=raw.topic.removeprefix(prefix),
            partition=raw.partition,
            offset=raw.offset,
            timestamp_ms=raw.timestamp,
            timestamp_type=raw.timestamp_type,
            key=raw.key,
            value=raw.value,
            headers=tuple(raw.headers),
            unreadable=getattr(raw, "unreadable", None),
        )

    @property
    def size_bytes(self) -> int:
        """Bytes of key, value and headers together."""
        headers = sum(len(name.encode()) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers

    @property
    def coordinates(self) -> str:
        """One string that names the record."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    def header(self, name: str) -> str | None:
        """The last value of a header as text; None if it is absent or not UTF-8."""
        return header_text(self.headers, name)

    def __repr__(self) -> str:
        return f"ConsumedRecord({self.coordinates}, {self.size_bytes} bytes)"


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
