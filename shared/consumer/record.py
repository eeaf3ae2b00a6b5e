"""A consumed record: payload apart from position; `repr` never shows the payload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eldermesh.contract.cloudevents import header_text
from eldermesh.kafka.unreadable import Unreadable

LOG_APPEND_TIME = 1
"""Kafka's `timestamp_type` of a record whose time was set by the broker, not by the publisher."""


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
