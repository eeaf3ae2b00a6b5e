"""Alarms about bad input: told often enough to be seen, rarely enough to be read. Bad input never stops a consumer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from shared.consumer.record import ConsumedRecord
from shared.errors import DeadLetterError
from shared.logs import get_logger

LOG_EVERY_SECONDS = 60.0
MAX_SOURCES = 256
"""Sources are named by whoever publishes; beyond so many they are counted together."""

OTHER_SOURCES = "(other sources)"
_NAME_CHARACTERS = 120

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeadLetterLimit:
    """What is more than a bad publisher or two: a ratio of the last `window` records, or a run of dead letters."""

    window: int = 200
    max_ratio: float = 0.5
    max_in_a_row: int = 100


@dataclass(slots=True)
class _Source:
    spoke_at: float
    unsaid: int
    last: tuple[ConsumedRecord, DeadLetterError]


class DeadLetterAlarm:
    """Watches the dead letters of one topic and speaks up, at most once a minute for each source.

    The source is the record's `ce_source`. Above the limit something is broken at large: one error says so, and a
    warning when it is over. Neither stops anything.

    Args:
        topic: the topic's full name.
        limit: when the topic as a whole is in trouble.
        now: seconds of a monotonic clock.
    """

    def __init__(
        self, topic: str, *, limit: DeadLetterLimit | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._topic = topic
        self._limit = limit or DeadLetterLimit()
        self._now = now
        self._recent: deque[bool] = deque(maxlen=self._limit.window)
        self._in_a_row = 0
        self._sources: dict[str, _Source] = {}
        self.over_limit = False

    def handled(self) -> None:
        """A record was handled well."""
        self._in_a_row = 0
        self._judge(dead=False)

    def refused(self, record: ConsumedRecord, error: DeadLetterError) -> None:
        """A record became a dead letter."""
        self._in_a_row += 1
        self._judge(dead=True)
        name = (record.header("ce_source") or "(no ce_source)")[:_NAME_CHARACTERS]
        if name not in self._sources and len(self._sources) >= MAX_SOURCES:
            name = OTHER_SOURCES
        source = self._sources.get(name)
        if source is None:
            source = self._sources[name] = _Source(self._now() - LOG_EVERY_SECONDS, unsaid=0, last=(record, error))
        source.unsaid += 1
        source.last = (record, error)
        self.speak()

    def speak(self) -> None:
        """Say what is unsaid of sources whose minute is over. To be called now and then, for those that fell silent."""
        now = self._now()
        for name, source in self._sources.items():
            if source.unsaid and now - source.spoke_at >= LOG_EVERY_SECONDS:
                record, error = source.last
                _log.warning(
                    "dead letters",
                    topic=self._topic,
                    source=name,
                    count=source.unsaid,
                    last_error_type=error.error_type,
                    last_reason=error.reason,
                    last_record=record.coordinates,
                    job_id=error.job_id,
                )
                source.spoke_at, source.unsaid = now, 0

    def _judge(self, *, dead: bool) -> None:
        self._recent.append(dead)
        ratio = sum(self._recent) / len(self._recent)
        window_is_full = len(self._recent) == self._limit.window
        over = self._in_a_row >= self._limit.max_in_a_row or (window_is_full and ratio > self._limit.max_ratio)
        if over and not self.over_limit:
            _log.error(
                "dead letters above the limit: a publisher is broken, or we are",
                topic=self._topic,
                ratio=round(ratio, 3),
                in_a_row=self._in_a_row,
            )
        elif self.over_limit and not over:
            _log.warning("dead letters below the limit again", topic=self._topic, ratio=round(ratio, 3))
        self.over_limit = over
