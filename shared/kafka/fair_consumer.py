"""A Kafka consumer whose partitions take turns: one that has much to read holds up none of the others."""

from __future__ import annotations

from typing import Any

from aiokafka import TopicPartition

from eldermesh.kafka.consumer import WholeConsumer


class FairConsumer(WholeConsumer):
    """aiokafka's consumer; a partition that filled a poll waits until the others have had what they hold.

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
