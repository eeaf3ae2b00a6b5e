"""How fast a backlog is handed out: half of the time is left to what came out of it before."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from shared.history.owner_parts import Rank

BACKLOG_RECORDS = 50
"""From so many waiting records on there is a backlog."""

MOST_SECONDS = 0.5
"""The longest rest."""


class BacklogPace:
    """Rests between batches of one backlog, each time for as long as the batch took.

    What is accepted is advised on, routed, run and ended by processes that share this machine, and this process' own
    event loop. A backlog that is accepted as fast as can be keeps all of them busy, and with them each step of a job
    that someone waits for. Nobody waits for the backlog's own records: what is accepted sooner waits in an engine's
    queue. A record that is more urgent than the last batch, or of another tenant, never waits for a rest.

    Args:
        clock: seconds that pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._batch: tuple[int, frozenset[str]] | None = None
        self._began = 0.0
        self._rests: dict[int, tuple[float, frozenset[str]]] = {}
        """By priority: until when, and for which tenants."""

    def begins(self, ranks: Collection[Rank]) -> None:
        """A batch of records with these ranks is handed out."""
        priority = max((rank.priority for rank in ranks), default=0)
        self._batch = priority, frozenset(rank.tenant for rank in ranks)
        self._began = self._clock()

    def ends(self) -> None:
        """The batch has been handled."""
        if self._batch is not None:
            priority, tenants = self._batch
            now = self._clock()
            self._rests[priority] = now + min(now - self._began, MOST_SECONDS), tenants
            self._batch = None

    def left(self, rank: Rank, waiting: int) -> float:
        """Seconds to rest before a record of this rank is handed out, where so many wait; 0 if none."""
        until, tenants = self._rests.get(rank.priority, (0.0, frozenset[str]()))
        if waiting < BACKLOG_RECORDS or rank.tenant not in tenants:
            return 0.0
        return max(0.0, until - self._clock())
