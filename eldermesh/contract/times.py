"""Instants in public records: UTC with milliseconds, as `2026-11-23T09:26:39.123Z`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

LAST_MS: Final = 253_402_300_799_999
"""The last instant that has a text, 9999-12-31T23:59:59.999Z; the first one is 0."""


def printable_ms(epoch_ms: int) -> int:
    """The instant, or the nearest one that has a text: clocks and records of others may say anything."""
    return min(max(epoch_ms, 0), LAST_MS)


def format_time(epoch_ms: int) -> str:
    """RFC 3339 text of an instant given in integer milliseconds since 1970, or of the nearest one that has a text."""
    epoch_ms = printable_ms(epoch_ms)
    instant = datetime.fromtimestamp(epoch_ms // 1000, tz=UTC)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{epoch_ms % 1000:03d}Z"


def parse_time(text: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 text.

    Raises:
        ValueError: the text is no RFC 3339 instant with an offset.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    return round(instant.timestamp() * 1000)
