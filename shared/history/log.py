"""The log of one history partition, as its owner uses it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from shared.history.facts import FactRecord
from shared.history.machine import NewFact, Publication


class Bounds(NamedTuple):
    """`start` is the first offset still kept, `end` the offset of the next record to be written."""

    start: int
    end: int


class PartitionLog(Protocol):
    """Reads, appends to, and publishes beside one partition. Every call ends within a limit.

    All raise `RetryableError` when the broker does not answer; whether anything was written is then unknown.
    """

    async def bounds(self) -> Bounds:
        """Start and end of the log, as of now."""

    async def read(self, offset: int, *, max_records: int, wait_seconds: float) -> Sequence[FactRecord]:
        """Records from `offset` on, waiting for the first one. With a wait of 0, too, it lets the event loop run.

        Raises:
            LostOwnershipError: the offset lies outside the log.
            UnreadableFactError: the bytes of one of them cannot be read.
        """

    async def append(self, facts: Sequence[tuple[str, NewFact]]) -> Sequence[int]:
        """Append facts (each with its subject) and return their offsets, acknowledged by all in-sync replicas."""

    async def publish(self, publications: Sequence[Publication]) -> None:
        """Publish public records and await their acknowledgement, in order for each topic."""


def record_hash(record: FactRecord) -> str:
    """What identifies a record across incarnations of a log."""
    digest = hashlib.sha256(f"{record.offset}\n{record.time_ms}\n{record.key}\n{record.fact_type}\n".encode())
    digest.update(record.value)
    return digest.hexdigest()
