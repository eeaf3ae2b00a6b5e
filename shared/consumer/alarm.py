"""Alarms about bad input: told often enough to be seen, rarely enough to be read. Bad input never stops a consumer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from eldermesh.contract.vocabulary import DeadLetterType
from shared.consumer.record import ConsumedRecord
from shared.errors import DeadLetterError
from shared.logs.setup import get_logger

LOG_EVERY_SECONDS = 60.0
MAX_SOURCES = 256
"""Sources are named by whoever publishes; beyond so many they are counted together."""

OTHER_SOURCES = "(other sources)"
NO_SOURCE = "(no ce_source)"
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
    """What is still to be logged of one source; texts only, so that no payload is kept."""

    name: str
    error_type: DeadLetterType
    spoke_at: float
    unsaid: int = 0
    last: tuple[str, str, str | None] = ("", "", None)


class DeadLetterAlarm:
    """Watches the dead letters of one topic and logs them, at most once a minute for each source and error type.

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
        self._sources: dict[tuple[str, DeadLetterType], _Source] = {}
        self.over_limit = False

    def handled(self) -> None:
        """A record was handled well."""
        self._in_a_row = 0
        self._judge(dead=False)

    def refused(self, record: ConsumedRecord, error: DeadLetterError) -> None:
        """A record became a dead letter."""
        self._in_a_row += 1
        self._judge(dead=True)
        source = self._source((record.header("ce_source") or NO_SOURCE)[:_NAME_CHARACTERS], error.error_type)
        source.unsaid += 1
        source.last = (error.reason, record.coordinates, error.job_id)
        self._speak(source)

    def speak(self) -> None:
        """Log what is left of sources whose minute is over. Call it regularly, for those that fell silent."""
        for source in self._sources.values():
            self._speak(source)

    def _source(self, name: str, error_type: DeadLetterType) -> _Source:
        source = self._sources.get((name, error_type))
        if source is None:
            if len(self._sources) >= MAX_SOURCES:
                name = OTHER_SOURCES
            never = self._now() - LOG_EVERY_SECONDS
            source = self._sources.setdefault((name, error_type), _Source(name, error_type, spoke_at=never))
        return source

    def _speak(self, source: _Source) -> None:
        now = self._now()
        if not source.unsaid or now - source.spoke_at < LOG_EVERY_SECONDS:
            return
        reason, coordinates, job_id = source.last
        _log.warning(
            "dead letters",
            topic=self._topic,
            source=source.name,
            error_type=source.error_type,
            count=source.unsaid,
            last_reason=reason,
            last_record=coordinates,
            job_id=job_id,
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
