"""The Kafka client of a subscriber: it notes when it last polled, and loses nothing by a poll that failed."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from aiokafka import TopicPartition
from aiokafka.codec import has_gzip, has_lz4, has_snappy, has_zstd
from aiokafka.errors import KafkaError  # noqa: TID251 - FastStream expects them of the client that it drives

from shared.errors import ConfigurationError
from shared.kafka.paced_consumer import PacedConsumer
from shared.logs.setup import get_logger

POLL_SECONDS = 1.0
"""How long a poll waits for its first record. FastStream asks for less: it sleeps as long after an empty poll."""

_log = get_logger(__name__)


class InboxClient(PacedConsumer):
    """aiokafka's consumer for those who commit each batch before they poll again, with three habits added to `getmany`.

    It waits `POLL_SECONDS` for records, longer than FastStream asks for.

    It notes the time of the last poll that did not fail, from which liveness is judged.

    After a poll that failed it begins again at what was committed: the library may have taken records of one partition,
    and moved on there, before it failed at another. The next commit would lose them.

    It raises aiokafka's own errors: FastStream, which drives it, tries again after those, and ends at all others.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.polled_at = time.monotonic()
        self._rewind_is_due = False

    def errors(self) -> AbstractContextManager[None]:
        """Nothing is translated; see the class."""
        return nullcontext()

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

    def forget(self) -> None:
        """Partitions were given up: whoever has them next begins at what was committed."""

    async def _poll(self, *partitions: Any, timeout_ms: int, max_records: int | None) -> dict[Any, list[Any]]:
        if self._rewind_is_due:
            await self._rewind()
        self._rewind_is_due = True
        batches: dict[Any, list[Any]] = await super().getmany(
            *partitions, timeout_ms=timeout_ms, max_records=max_records
        )
        self._rewind_is_due = False
        self.polled_at = time.monotonic()
        return batches

    async def _rewind(self) -> None:
        for partition in self.assignment():
            offset = await self._begins_at(partition)
            if offset is None:
                await self.seek_to_beginning(partition)
            else:
                super().seek(partition, offset)
        self._rewind_is_due = False

    async def _begins_at(self, partition: TopicPartition) -> int | None:
        return await self.committed(partition)


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
