"""The Kafka client of a subscriber that handles the records of its inbox by rank."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError  # noqa: TID251 - `InboxClient` raises what FastStream expects

from shared.consumer.backlog_pace import BacklogPace
from shared.consumer.client import InboxClient
from shared.consumer.read_ahead import PassesOver, Ranking, ReadAhead
from shared.consumer.reader import COMMIT_SECONDS
from shared.consumer.record import LARGE_BYTES
from shared.logs.setup import get_logger

_POLL_RECORDS = 500
"""Looked at without letting the event loop run, a few milliseconds."""

_log = get_logger(__name__)

_BATCH: Final = "by rank"

_PASSED_SECONDS = 5.0

_LOOK_SECONDS = 0.02
"""How long a rest goes on before it looks whether something has come."""

_MOST_POLLS = 8
"""So often at most it reads on before it hands out: of a long history that is passed over, polls stay full for long."""


class RankedInboxClient(InboxClient):
    """`InboxClient` that reads ahead as far as there is room, and gives the records with the lowest ranks first.

    A batch that was not committed when the next one is asked for waits again; nothing is fetched anew for that.

    Args:
        ranking: what ranks a record.
        prefix: of the names of topics.
        passes_over: tells a record that nobody will handle.
        pace: of a backlog; without one its records are handed out as fast as they are handled.
    """

    def __init__(
        self,
        *args: Any,
        ranking: Ranking,
        prefix: str,
        passes_over: PassesOver | None,
        pace: BacklogPace | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._backlog = pace
        self._make = partial(ReadAhead, ranking, prefix, passes_over)
        self._ahead = self._make()
        self._passed_at = time.monotonic()
        self._passed: dict[TopicPartition, int] = {}

    def forget(self) -> None:
        """Nothing that was read counts any more."""
        self._ahead = self._make()
        self._passed = {}

    async def commit(self, offsets: Any = None) -> None:
        """Commit these offsets or, without any, what the batch at hand completes."""
        if offsets is not None:
            await super().commit(offsets)
            return
        ahead = self._ahead
        due = ahead.to_commit()
        if due:
            await super().commit(due)
        ahead.finish()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Nothing: FastStream rewinds to a batch that failed, but that is still here."""

    async def _poll(
        self,
        *partitions: Any,  # noqa: ARG002 - FastStream asks for all of them
        timeout_ms: int,
        max_records: int | None,  # noqa: ARG002 - `ReadAhead` knows how many
    ) -> dict[Any, list[Any]]:
        self._ahead.give_back()
        if self._backlog is not None:
            self._backlog.ends()
        await self._read(timeout_ms)
        if self._backlog is not None:
            await self._rest(self._backlog)
        # Under one key, since FastStream puts the records of one after those of another.
        batch = self._ahead.take()
        if self._backlog is not None and batch:
            self._backlog.begins(self._ahead.next_records)
        if not batch:
            await self._commit_passed()
        return {_BATCH: batch} if batch else {}

    async def _rest(self, pace: BacklogPace) -> None:
        """Rest, unless something comes for which there is no rest."""
        while (left := pace.left(self._ahead.next_records)) > 0:
            await asyncio.sleep(min(left, _LOOK_SECONDS))
            await self._read(0)

    async def _read(self, timeout_ms: int) -> None:
        """Read what has been fetched; wait for it if nothing waits here."""
        for _ in range(_MOST_POLLS):
            assigned = self.assignment()
            partitions = self._ahead.with_room(assigned)
            if not partitions and self._ahead:
                self.polled_at = time.monotonic()
                await asyncio.sleep(0)  # as any other poll: who asks again and again must not be alone
                return
            wait_ms = 0 if self._ahead else timeout_ms
            # Without names it also gives what a partition has that is assigned while it waits.
            asked = () if len(partitions) == len(assigned) else partitions
            batches = await super()._poll(*asked, timeout_ms=wait_ms, max_records=_POLL_RECORDS)
            await self._hold(list(chain.from_iterable(batches.values())))
            if sum(map(len, batches.values())) < _POLL_RECORDS:
                return

    async def _hold(self, records: Sequence[Any]) -> None:
        """Hold what a poll has given: in what is held now, for the poll may have waited for another assignment."""
        ahead, looked_at_bytes = self._ahead, 0
        for raw in records:
            if self._ahead is not ahead:
                return  # partitions were given up meanwhile; whoever has them reads these again
            looked_at_bytes += ahead.add(raw)
            if looked_at_bytes > LARGE_BYTES:
                looked_at_bytes = 0
                await asyncio.sleep(0)  # the look at a large record takes up to 20 ms

    async def _commit_passed(self) -> None:
        """Now and then commit behind what was passed over: no batch comes that would."""
        now = time.monotonic()
        if now < self._passed_at + _PASSED_SECONDS:
            return
        self._passed_at = now
        passed = self._ahead.passed()
        if passed == self._passed:
            return
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await super().commit(passed)
        except (KafkaError, TimeoutError) as error:
            _log.info("what was passed over is committed later", error=repr(error))
        else:
            self._passed = passed

    async def _begins_at(self, partition: TopicPartition) -> int | None:
        read = self._ahead.position(partition)
        return await super()._begins_at(partition) if read is None else read
