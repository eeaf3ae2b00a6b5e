"""Records as the consumer sees them."""

from __future__ import annotations

from typing import Any

from shared.consumer.record import ConsumedRecord


def consumed(value: bytes | None = b"value", *, offset: int = 0, **fields: Any) -> ConsumedRecord:
    """A record of partition 0 of `jobs`, with fields to change."""
    values: dict[str, Any] = {
        "topic": "here.jobs",
        "inbox": "jobs",
        "partition": 0,
        "offset": offset,
        "timestamp_ms": 0,
        "timestamp_type": 0,
        "key": None,
        "value": value,
        "headers": (),
    }
    return ConsumedRecord(**(values | fields))
