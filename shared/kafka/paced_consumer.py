"""The Kafka consumer of services: partitions take turns, and an idle embedded broker is asked seldom."""

from __future__ import annotations

import asyncio
import time
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
        others = set(partitions or self.assignment()) - self._had_their_turn
        batches: dict[Any, list[Any]] = {}
        if self._had_their_turn and others:
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


IDLE_FETCH_WAIT_MS = 100
"""What `fetch_max_wait_ms` grows to without records; the first record after that may come so much later."""

IDLE_AFTER_SECONDS = 1.0


class PacedConsumer(FairConsumer):
    """`FairConsumer`; its `fetch_max_wait_ms` grows after `IDLE_AFTER_SECONDS` without records.

    The embedded broker sleeps for that time, whatever arrives. So it has to be short where a job is on its way, and an
    idle mesh would then ask a thousand times a second for nothing. Kafka answers as soon as there is data: with its
    longer time nothing changes.
    """

    def __init__(self, *topics: str, fetch_max_wait_ms: int, **options: Any) -> None:
        super().__init__(*topics, fetch_max_wait_ms=fetch_max_wait_ms, **options)
        self._busy_wait_ms = fetch_max_wait_ms
        self._idle_wait_ms = max(fetch_max_wait_ms, IDLE_FETCH_WAIT_MS)
        self._record_at = time.monotonic()

    async def getmany(
        self, *partitions: Any, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[Any, list[Any]]:
        """As in `FairConsumer`. Whatever it gives and however short it waits, it lets the event loop run."""
        await asyncio.sleep(0)  # with records at hand, or without a time to wait, aiokafka returns at once
        batches: dict[Any, list[Any]] = await super().getmany(
            *partitions, timeout_ms=timeout_ms, max_records=max_records
        )
        now = time.monotonic()
        if batches:
            self._record_at = now
        is_idle = now - self._record_at >= IDLE_AFTER_SECONDS
        wait_ms = self._idle_wait_ms if is_idle else self._busy_wait_ms
        self._fetcher._fetch_max_wait_ms = wait_ms  # noqa: SLF001 - it is read anew for each fetch; there is no public one
        return batches
