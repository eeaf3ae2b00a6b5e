"""How many chunks of a lane should be with the engine, from how long it takes to finish them."""

from __future__ import annotations

from dataclasses import dataclass

QUEUED_SECONDS = 0.05
"""How long chunks may wait for a slot: so the engine is never out of work, and whoever comes next waits little."""

_SHARE_OF_ONE = 0.125
"""Weight of one chunk in the average."""

_MOST_DOWN = -0.5
_MOST_UP = 1.0


@dataclass(slots=True)
class UnqueuedTime:
    """Average seconds of a lane's chunks that found room with the engine; None until there was one.

    All partitions of a process share it: once one of them fills the engine, the others could not tell.
    """

    seconds: float | None = None

    def add(self, seconds: float) -> None:
        """Another chunk took so long."""
        average = seconds if self.seconds is None else self.seconds
        self.seconds = average + _SHARE_OF_ONE * (seconds - average)


@dataclass(slots=True)
class LanePace:
    """The size that a lane's window should have; `size` is a number of chunks, not a whole one.

    A chunk's time is that from its dispatch to the fold of its results. Chunks that were sent while the engine had room
    tell how long one takes that does not wait for a slot. Chunks of a full window should take `QUEUED_SECONDS` longer:
    if they take less, the window grows, with each of them by one at most, so that it doubles while it is far too small;
    if they take more, it shrinks. A sum over all partitions is not needed: all see the same queue.
    """

    unqueued: UnqueuedTime
    size: float = 0.0

    def finished(self, seconds: float, *, found_room: bool, was_full: bool) -> None:
        """A chunk took so long; `was_full` if the window had no room for another one."""
        if found_room:
            self.unqueued.add(seconds)
        if self.unqueued.seconds is None:
            return
        change = (self.unqueued.seconds + QUEUED_SECONDS) / max(seconds, 0.001) - 1
        if was_full or change < 0:
            self.size += min(_MOST_UP, max(_MOST_DOWN, change))

    def keep_between(self, least: int, most: int) -> int:
        """The size in whole chunks, which stays within these limits; `least` until a chunk's time is known."""
        self.size = float(least if self.unqueued.seconds is None else min(most, max(least, self.size)))
        return int(self.size)
