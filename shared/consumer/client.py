"""The Kafka client of a subscriber: it notes when it last polled, and steps over what cannot be read at all."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import time
import zlib
from typing import Any

import cramjam
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.codec import has_gzip, has_lz4, has_snappy, has_zstd
from aiokafka.errors import CorruptRecordException, KafkaError, UnsupportedCodecError

from shared.errors import ConfigurationError
from shared.logs import get_logger
from shared.paced_consumer import PacedConsumer

UNREADABLE_AFTER = 3
"""How often in a row reading has to fail at one position, fetched anew each time, before that offset is passed over."""

POLL_SECONDS = 0.25
"""How long a poll waits for its first record, whatever FastStream asks for: it sleeps as long again after an empty one,
and what comes meanwhile would wait for that."""

CAREFUL_POLLS = 500
"""Polls after a failed read that take one record each, so that the failure can be pinned to one offset."""

_CAREFUL_PAUSE_SECONDS = 0.02

_READ_ERRORS = (
    UnicodeDecodeError,  # a header's *name* that is not UTF-8
    CorruptRecordException,
    UnsupportedCodecError,
    cramjam.DecompressionError,
    zlib.error,
    gzip.BadGzipFile,
    EOFError,
)

_log = get_logger(__name__)


@dataclasses.dataclass
class UnreadableRecord(ConsumerRecord):  # type: ignore[misc]  # aiokafka has no types
    """Stands for a record whose bytes the client library cannot read: only its position is known."""

    unreadable: str = ""


class InboxClient(PacedConsumer):
    """aiokafka's consumer for those who commit each batch before they poll again, with four habits added to `getmany`.

    It waits for records longer than it is asked to, `POLL_SECONDS`, and so is not deaf half of the time.

    It notes the time of the last poll that did not fail, from which liveness is judged.

    After a poll that failed it begins again at what was committed: the library may have taken records of one partition,
    and moved on there, before it failed at another. The next commit would lose them.

    Where the library fails at every poll because it cannot read a record (the name of a header is no UTF-8, a
    compressed batch is broken), which would hold up the partition for ever, it yields an `UnreadableRecord` in its
    place. The library reads a publisher's batch from its beginning, so what follows in that batch is unreadable, too.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.polled_at = time.monotonic()
        self._rewind_is_due = False
        self._careful_polls = 0
        self._failed_reads: dict[TopicPartition, tuple[int, int]] = {}

    async def getmany(
        self, *partitions: Any, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[Any, list[Any]]:
        """As in aiokafka; see the class."""
        try:
            wait_ms = max(timeout_ms, round(POLL_SECONDS * 1000))
            return await self._poll(*partitions, timeout_ms=wait_ms, max_records=max_records)
        except KafkaError as error:
            # FastStream waits some seconds and tries again, without a word.
            _log.warning("poll failed", topics=sorted(self.subscription()), error=repr(error))
            raise

    async def _poll(self, *partitions: Any, timeout_ms: int, max_records: int | None) -> dict[Any, list[Any]]:
        if self._rewind_is_due:
            await self._rewind()
        if self._careful_polls:
            return await self._poll_carefully()
        self._rewind_is_due = True
        try:
            batches: dict[Any, list[Any]] = await super().getmany(
                *partitions, timeout_ms=timeout_ms, max_records=max_records
            )
        except _READ_ERRORS as error:
            _log.warning("a poll cannot be read; reading one record at a time", error=repr(error))
            self._careful_polls = CAREFUL_POLLS
            return {}
        self._rewind_is_due = False
        self.polled_at = time.monotonic()
        return batches

    async def _rewind(self) -> None:
        for partition in self.assignment():
            offset = await self.committed(partition)
            if offset is None:
                await self.seek_to_beginning(partition)
            else:
                self.seek(partition, offset)
        self._rewind_is_due = False

    async def _poll_carefully(self) -> dict[Any, list[Any]]:
        """One record of one partition, so that a failure to read it can be pinned to an offset."""
        self._careful_polls -= 1
        for partition in sorted(self.assignment()):
            records = await self._read_one(partition)
            if records:
                self.polled_at = time.monotonic()
                return {partition: records}
        # Records are fetched in the background meanwhile.
        await asyncio.sleep(_CAREFUL_PAUSE_SECONDS)
        return {}

    async def _read_one(self, partition: Any) -> list[Any]:
        """The next record of a partition if it is here already; an `UnreadableRecord` if it cannot be read."""
        try:
            batches: dict[Any, list[Any]] = await super().getmany(partition, timeout_ms=0, max_records=1)
        except _READ_ERRORS as error:
            self._careful_polls = CAREFUL_POLLS
            return await self._after_failed_read(partition, error)
        return batches.get(partition, [])

    async def _after_failed_read(self, partition: Any, error: Exception) -> list[Any]:
        position: int = await self.position(partition)
        failed_at, times = self._failed_reads.get(partition, (position, 0))
        times = times + 1 if failed_at == position else 1
        self._failed_reads[partition] = (position, times)
        if times < UNREADABLE_AFTER:
            return []
        del self._failed_reads[partition]
        self.seek(partition, position + 1)
        reason = f"the record's bytes cannot be read ({type(error).__name__}); the topic still has them"
        return [
            UnreadableRecord(
                topic=partition.topic,
                partition=partition.partition,
                offset=position,
                timestamp=-1,
                timestamp_type=0,
                key=None,
                value=None,
                checksum=None,
                serialized_key_size=-1,
                serialized_value_size=-1,
                headers=(),
                unreadable=reason,
            )
        ]


def require_codecs() -> None:
    """Any client may compress as it likes, so every codec of Kafka has to be at hand.

    Raises:
        ConfigurationError: one is missing.
    """
    missing = [
        name
        for name, has in (("gzip", has_gzip), ("snappy", has_snappy), ("lz4", has_lz4), ("zstd", has_zstd))
        if not has()
    ]
    if missing:
        raise ConfigurationError(f"compressed batches could not be read ({', '.join(missing)}): install cramjam")
