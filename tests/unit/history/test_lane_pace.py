"""A window follows what the engine finishes: on a played engine, its queue is short and its slots are busy."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.history.dispatch_window import DispatchWindow, WindowGroup
from shared.history.lane_pace import QUEUED_SECONDS, LanePace, UnqueuedTime

_LANE = "celery"


@dataclass
class PlayedEngine:
    """Slots that take chunks in the order of dispatch; owners learn of an end `turn` seconds later, and send more."""

    slots: int
    run: float
    turn: float
    partitions: int = 1
    now: float = 0.0
    finished: int = 0
    busy_seconds: float = 0.0
    waits: list[float] = field(default_factory=list)

    def play(self, seconds: float) -> None:
        """Owners have more than enough to send, for so long."""
        group = WindowGroup()
        windows = [DispatchWindow(2 * self.slots, 60.0, group) for _ in range(self.partitions)]
        free = [0.0] * self.slots
        ends: list[tuple[float, int, str]] = []
        sent = 0
        for owner in range(self.partitions):
            heappush(ends, (0.0, owner, ""))
        while ends and self.now < seconds:
            self.now, owner, chunk = heappop(ends)
            window = windows[owner]
            window.drop([chunk], self.now)
            for _ in range(window.room(_LANE, 3)):
                sent += 1
                begins = max(self.now, heappop(free))
                heappush(free, begins + self.run)
                self.waits.append(begins - self.now)
                self.busy_seconds += self.run
                window.sent(str(sent), self.now, _LANE, 3)
                heappush(ends, (begins + self.run + self.turn, owner, str(sent)))


@pytest.mark.parametrize("partitions", [1, 4, 12])
@settings(max_examples=25, deadline=None)
@given(
    slots=st.integers(2, 32),
    run=st.floats(0.002, 2.0),
    turn=st.floats(0.005, 0.05),
)
def test_busy_and_not_queued(partitions: int, slots: int, run: float, turn: float) -> None:
    """Chunks wait little longer than they should, beside those that make up the smallest windows; no slot idles.

    Unless the engine is so fast that the ceiling, twice the slots for a partition, cannot cover the way of an end.
    """
    engine = PlayedEngine(slots, run, turn, partitions)
    engine.play(60 * (run + turn))
    late = engine.waits[len(engine.waits) // 2 :]
    # One after another begins, and takes its share of the slots.
    begun_with = sum(-(-5 * 2 * slots // (8 * sharing)) for sharing in range(1, partitions + 1))
    assert sum(late) / len(late) <= 3 * QUEUED_SECONDS + begun_with / slots * run
    most_busy = min(1.0, 2 * slots * partitions * run / (slots * (run + turn)))
    assert engine.busy_seconds / (slots * engine.now) >= 0.8 * most_busy


def test_a_pace_without_a_measure_stays() -> None:
    """Until a chunk has found room, nobody knows how long one takes."""
    pace = LanePace(UnqueuedTime())
    pace.finished(1.0, found_room=False, was_full=True)
    assert [pace.keep_between(least, 8) for least in (4, 2)] == [4, 2]


def test_a_window_that_is_not_full_does_not_grow() -> None:
    """Chunks that come one by one say nothing of what the engine could finish; late ones still say it is too much."""
    pace = LanePace(UnqueuedTime(), 4.0)
    pace.finished(0.01, found_room=True, was_full=False)
    assert pace.keep_between(2, 8) == 4
    pace.finished(1.0, found_room=False, was_full=False)
    assert pace.keep_between(2, 8) == 3
    pace.finished(0.01, found_room=True, was_full=True)
    assert pace.keep_between(2, 8) == 4
