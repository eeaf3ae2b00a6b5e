"""What engines have to do already: the items of routed jobs that have not ended, in seconds of work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from eldermesh.contract.vocabulary import Engine
from services.router.jobs.observation import Kind, kind_of
from services.router.jobs.state import JobState
from shared.history.clock import Clock
from shared.priorities import PRIORITIES

_LEAST_SECONDS_BETWEEN: Final = 0.25
_SHARE: Final = 0.05
"""Of the processor: counting a hundred thousand jobs takes a while, and is done more rarely."""


class Backlog:
    """Work that waits or runs, by engine and priority; a quarter of a second old, or more if there are very many jobs.

    Args:
        states: of the live jobs of this process.
        share: of all partitions that this process owns: the others are taken to have as much to do.
        item_seconds: what an item of a kind takes on an engine.
        clock: for its age.
    """

    def __init__(
        self,
        states: Callable[[], Iterable[JobState]],
        share: Callable[[], float],
        item_seconds: Callable[[Kind | None, Engine], float],
        clock: Clock,
    ) -> None:
        self._states = states
        self._share = share
        self._item_seconds = item_seconds
        self._clock = clock
        self._work: dict[tuple[Engine, int], float] = {}
        self._until = 0.0

    def seconds(self, engine: Engine, priority: int) -> float:
        """Seconds of work for one slot that goes before a new job of this priority, or by turns with it."""
        now = self._clock.monotonic()
        if now >= self._until:
            self._work = work_of(self._states(), self._item_seconds)
            took = self._clock.monotonic() - now
            self._until = now + max(_LEAST_SECONDS_BETWEEN, took / _SHARE)
        before = sum(work for (where, each), work in self._work.items() if where == engine and each <= priority)
        return before / max(self._share(), 0.01)

    def add(self, engine: Engine, priority: int, seconds: float) -> None:
        """A job with so much work has just been routed: it counts before the jobs are counted again."""
        key = (engine, priority)
        self._work[key] = self._work.get(key, 0.0) + seconds


def work_of(
    states: Iterable[JobState], item_seconds: Callable[[Kind | None, Engine], float]
) -> dict[tuple[Engine, int], float]:
    """Seconds of work of routed jobs, by engine and priority; 0 is the highest priority. Pure."""
    work: defaultdict[tuple[Engine, int], float] = defaultdict(float)
    for state in states:
        engine, terms = state.engine, state.terms
        if engine is None or terms is None or state.items_total is None or state.pause is not None:
            continue
        missing = state.items_total - state.succeeded - state.failed
        work[engine, PRIORITIES[terms.priority]] += missing * item_seconds(kind_of(terms), engine)
    return dict(work)
