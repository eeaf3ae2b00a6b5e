"""Offsets of a log that a fetch has nothing of, though it has something of later ones.

The embedded broker may show a batch before an earlier one of another producer, which comes some milliseconds later; who
reads on would never see that one. Apache Kafka shows no such gap but where compaction removed records, which stays.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from aiokafka import TopicPartition

GAP_SECONDS: Final = 5.0
"""How long what is missing may take to appear."""

_log = logging.getLogger(__name__)


class LogGaps:
    """The gaps of the partitions of one consumer.

    Args:
        monotonic: the clock.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen: dict[TopicPartition, tuple[int, float]] = {}
        self._lasting: set[TopicPartition] = set()

    def may_be_filled(self, partition: TopicPartition, position: int, offset: int) -> bool:
        """Whether what lies between a position and the next offset that was fetched may still appear: fetch it anew.

        A partition with one gap that stayed is a compacted one: no other gap of it is waited for.
        """
        if offset <= position or partition in self._lasting:
            self._seen.pop(partition, None)
            return False
        now = self._monotonic()
        seen_at, since = self._seen.get(partition, (position, now))
        if seen_at != position:
            since = now
        if now - since < GAP_SECONDS:
            self._seen[partition] = (position, since)
            return True
        del self._seen[partition]
        self._lasting.add(partition)
        _log.warning("%s has nothing between offsets %d and %d: reading on", partition, position, offset)
        return False
