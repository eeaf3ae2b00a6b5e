"""The Kafka consumer of services: partitions take turns, idle brokers are asked seldom, busy ones for more."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import TopicPartition

from eldermesh.kafka.consumer import WholeConsumer


class FairConsumer(WholeConsumer):
    """aiokafka's consumer; a partition that filled a poll waits until the others had their turn.

    The library gives all that it has fetched of one partition before it turns to the next one, and a publisher's batch
    of a few kilobytes may hold a hundred thousand records.
    """

    def __init__(self, *topics: str, **options: Any) -> None:
        super().__init__(*topics, **options)
        self._had_their_turn: set[TopicPartition] = set()

    async def getmany(
        self, *partitions: Any, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[Any, list[Any]]:
        """As in `WholeConsumer`; see the class."""
        batches: dict[Any, list[Any]] = {}
        if self._had_their_turn and (others := set(partitions or self.assignment()) - self._had_their_turn):
            batches = await super().getmany(*others, timeout_ms=0, max_records=max_records)
        if not batches:
            self._had_their_turn.clear()
            batches = await super().getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        if max_records is None or sum(map(len, batches.values())) < max_records:
            self._had_their_turn.clear()
        else:
            # The last of several was cut short: it is still to have its turn.
            *whole, last = batches
            self._had_their_turn.update(whole or [last])
        return batches


IDLE_AFTER_SECONDS = 1.0

BUSY_RECORDS_A_SECOND = 100
"""From here on a record waits up to `GATHER_MS` for others: an answer costs the same for one as for many."""

GATHER_MS = 10
GATHER_BYTES = 32 * 1024
_RATE_SECONDS = 0.5

_NOTICE_SECONDS = 0.25
"""After so long without records a consumer looks whether it is busy or idle now, however long its caller waits."""

_REFRESH_MS = 1000
"""So often aiokafka looks for partitions to ask for, though nothing has happened."""


class PacedConsumer(FairConsumer):
    """`FairConsumer`; its `fetch_max_wait_ms` grows to `idle_wait_ms` after `IDLE_AFTER_SECONDS` without records.

    The embedded broker sleeps for that time, whatever arrives. So it has to be short where a job is on its way, and an
    idle mesh would then ask a thousand times a second for nothing. Kafka answers as soon as there is data: the longer
    it waits, the less often it is asked for nothing. It answers one consumer's fetches one after the other, so a
    partition that is new to this one is asked for when the fetch under way has ended.

    Where records come so fast that each would be an answer of its own, the broker is asked to gather some. A record
    that comes alone and has the key of the one before it does not count: it is the next step of one job, and there is
    no other one to wait for. An idle consumer lets nothing gather, even if its caller does: its first record comes at
    once.
    """

    def __init__(self, *topics: str, fetch_max_wait_ms: int, idle_wait_ms: int, **options: Any) -> None:
        super().__init__(
            *topics, fetch_max_wait_ms=fetch_max_wait_ms, **({"consumer_timeout_ms": _REFRESH_MS} | options)
        )
        self._busy_wait_ms = fetch_max_wait_ms
        self._idle_wait_ms = max(fetch_max_wait_ms, idle_wait_ms)
        self._least_bytes: int = self._fetch_min_bytes
        self._record_at = self._counted_at = time.monotonic()
        self._counted = 0
        self._last_key: bytes | None = None
        self._is_busy = False

    async def getmany(
        self, *partitions: Any, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[Any, list[Any]]:
        """As in `FairConsumer`. Whatever it gives and however short it waits, it lets the event loop run."""
        await asyncio.sleep(0)  # with records at hand, or without a time to wait, aiokafka returns at once
        ends_at = time.monotonic() + timeout_ms / 1000
        while True:
            left = max(0.0, ends_at - time.monotonic())
            wait = left if self._is_idle else min(left, _NOTICE_SECONDS)
            batches: dict[Any, list[Any]] = await super().getmany(
                *partitions, timeout_ms=math.ceil(wait * 1000), max_records=max_records
            )
            self._pace([record.key for records in batches.values() for record in records])
            if batches or wait == left:
                return batches

    def stay_awake(self) -> None:
        """Be idle only after another `IDLE_AFTER_SECONDS`: records may come from elsewhere than the fetch under way."""
        self._record_at = time.monotonic()
        self._set_pace()

    @property
    def _is_idle(self) -> bool:
        return not self._is_busy and time.monotonic() - self._record_at >= IDLE_AFTER_SECONDS

    def _pace(self, keys: Sequence[bytes | None]) -> None:
        now = time.monotonic()
        if keys:
            self._record_at = now
            goes_on = len(keys) == 1 and keys[0] is not None and keys[0] == self._last_key
            self._counted += 0 if goes_on else len(keys)
            self._last_key = keys[-1]
        seconds = now - self._counted_at
        if seconds >= _RATE_SECONDS:
            self._is_busy = self._counted / seconds >= BUSY_RECORDS_A_SECOND
            self._counted_at, self._counted = now, 0
        self._set_pace()

    def _set_pace(self) -> None:
        wait_ms, least_bytes = self._busy_wait_ms, self._least_bytes
        if self._is_busy and least_bytes < GATHER_BYTES:
            wait_ms, least_bytes = min(GATHER_MS, wait_ms), GATHER_BYTES
        elif self._is_idle:
            wait_ms, least_bytes = self._idle_wait_ms, 1
        fetcher = self._fetcher  # it reads both anew for each fetch; there is no public way to them
        fetcher._fetch_max_wait_ms, fetcher._fetch_min_bytes = wait_ms, least_bytes  # noqa: SLF001
