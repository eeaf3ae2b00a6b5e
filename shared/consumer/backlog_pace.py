"""How fast a backlog is handed out: half of the time is left to what came out of it before."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

BACKLOG_RECORDS = 50
"""From so many waiting records on there is a backlog."""

MOST_SECONDS = 0.5
"""The longest rest."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The records that come next: those of one priority.

    Attributes:
        priority: theirs.
        records: how many wait, by tenant.
    """

    priority: int
    records: Mapping[str, int]


class BacklogPace:
    """Rests between batches of one backlog, each time for as long as the batch took.

    What is accepted is advised on, routed, run and ended by processes that share this machine, and this process' own
    event loop. A backlog that is accepted as fast as can be keeps all of them busy, and with them each step of a job
    that someone waits for. Nobody waits for the backlog's own records: what is accepted sooner waits in an engine's
    queue. A record of another priority never waits for a rest, nor does one of a tenant who had nothing waiting when
    the batch was handed out.

    Args:
        clock: seconds that pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._behind: Waiting | None = None
        self._until = 0.0

    def begins(self, behind: Waiting | None) -> None:
        """A batch is handed out, behind which this waits."""
        if behind is None or self._behind is None or behind.priority != self._behind.priority:
            self._until = 0.0
        self._began, self._behind = self._clock(), behind

    def ends(self) -> None:
        """The batch has been handled."""
        if self._began is not None:
            now = self._clock()
            self._until = max(self._until, now + min(now - self._began, MOST_SECONDS))
            self._began = None

    def left(self, waiting: Waiting | None) -> float:
        """Seconds to rest before any of what waits now is handed out; 0 if none."""
        behind = self._behind
        if waiting is None or behind is None or waiting.priority != behind.priority:
            return 0.0
        if sum(waiting.records.values()) < BACKLOG_RECORDS or not waiting.records.keys() <= behind.records.keys():
            return 0.0
        return max(0.0, self._until - self._clock())
