"""The dispatch window: how many chunks are with an engine at once, and when one without a claim is sent again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakSet

from shared.history.lane_pace import LanePace, UnqueuedTime

_MAX_DOUBLINGS = 4
_RUNS = -1
"""The priority of a chunk that an earlier owner has sent: it has a claim, and so a slot."""


@dataclass(slots=True)
class _Dispatched:
    sent_at: float
    times_sent: int
    lane: str
    priority: int
    tenant: str = ""
    is_claimed: bool = False
    found_room: bool = False
    is_timed: bool = False
    """Whether the time since `sent_at` is all the time that the engine has had it."""


class WindowGroup:
    """The windows of the partitions that one process owns: together they keep an engine busy."""

    def __init__(self) -> None:
        # An owner drops a window with its memory, whatever happens to it.
        self._windows: WeakSet[DispatchWindow] = WeakSet()
        self.unqueued: defaultdict[str, UnqueuedTime] = defaultdict(UnqueuedTime)
        """By lane."""

    def add(self, window: DispatchWindow) -> None:
        """Count it for as long as it lives."""
        self._windows.add(window)

    def others(self, window: DispatchWindow, lane: str) -> list[int]:
        """How many chunks of this lane are in each other window that has any."""
        return [taken for other in self._windows if other is not window and (taken := other.taken(lane))]

    def taken_by(self, tenant: str, lane: str) -> int:
        """How many chunks of a tenant are in this lane of all windows."""
        return sum(window.taken_by(tenant, lane) for window in self._windows)


@dataclass(slots=True, weakref_slot=True, eq=False)
class DispatchWindow:
    """Chunks of one partition that were dispatched and are still in a plan. Times are seconds of a monotonic clock.

    Each lane has room for as many chunks as its pace says: at most `size`, and at least this partition's share of what
    fills the engine's slots with one in four to spare. A chunk finds it as full as what the engine runs before it or by
    turns with it: chunks of lower priority that are with the engine do not keep it here.

    Args:
        size: most chunks of each lane in the window: twice the engine's slots.
        claim_timeout: a chunk without a claim for so long is due again; doubled each time, up to 16 times, so that a
            long queue is not filled with copies.
        group: the windows of this process; those that have chunks in a lane share its slots.
    """

    size: int
    claim_timeout: float
    group: WindowGroup = field(default_factory=WindowGroup)
    _chunks: dict[str, _Dispatched] = field(default_factory=dict)
    _taken: defaultdict[str, Counter[int]] = field(default_factory=partial(defaultdict, Counter))
    """By lane and priority."""
    _tenants: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Chunks by tenant and lane."""
    _paces: dict[str, LanePace] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Join the group."""
        self.group.add(self)

    def taken(self, lane: str) -> int:
        """How many chunks of a lane are in the window."""
        return self._taken[lane].total()

    def taken_by(self, tenant: str, lane: str) -> int:
        """How many chunks of a tenant are in this lane."""
        return self._tenants[tenant, lane]

    def room(self, lane: str, priority: int) -> int:
        """How many more chunks of a lane may be sent now with this priority; 0 is the highest."""
        before = sum(count for each, count in self._taken[lane].items() if each <= priority)
        return max(0, self._size(lane, self._least(lane)) - before)

    def __contains__(self, chunk: str) -> bool:
        return chunk in self._chunks

    def __len__(self) -> int:
        return len(self._chunks)

    def chunks(self) -> list[str]:
        """All chunks in the window."""
        return list(self._chunks)

    def sent(self, chunk: str, now: float, lane: str, priority: int, tenant: str = "") -> None:
        """The chunk was sent to its engine, for the first time or again."""
        entry = self._chunks.get(chunk)
        if entry is None:
            found_room = self._group_has_room(lane)
            self._put(chunk, _Dispatched(now, 1, lane, priority, tenant, found_room=found_room, is_timed=True))
        else:
            self._remove(chunk)
            self._put(chunk, _Dispatched(now, entry.times_sent + 1, lane, priority, tenant))

    def claimed(self, chunk: str, now: float, lane: str = "") -> None:
        """The chunk has a claim, of any state; `lane` counts only if this owner has not sent it."""
        if chunk not in self._chunks:
            self._put(chunk, _Dispatched(now, 1, lane, _RUNS))
        self._chunks[chunk].is_claimed = True

    def unclaimed(self, chunk: str, now: float) -> None:
        """The chunk has no claim. If it had one before, the wait for a claim begins anew."""
        entry = self._chunks.get(chunk)
        if entry is not None and entry.is_claimed:
            entry.is_claimed = entry.is_timed = False
            entry.sent_at = now

    def drop(self, chunks: Iterable[str], now: float) -> None:
        """Remove chunks that are in no plan any more: they have finished, or were replaced."""
        leasts = {lane: self._least(lane) for lane in self._taken}
        full = {lane for lane, least in leasts.items() if self.taken(lane) >= self._size(lane, least)}
        for chunk in chunks:
            entry = self._remove(chunk)
            if entry is not None and entry.is_timed:
                pace = self._paces[entry.lane]
                pace.finished(now - entry.sent_at, found_room=entry.found_room, was_full=entry.lane in full)
                pace.keep_between(leasts[entry.lane], self.size)

    def overdue(self, now: float) -> Collection[str]:
        """Chunks that have waited for a claim too long."""
        return [
            chunk
            for chunk, entry in self._chunks.items()
            if not entry.is_claimed
            and now - entry.sent_at > self.claim_timeout * 2 ** min(entry.times_sent - 1, _MAX_DOUBLINGS)
        ]

    def _put(self, chunk: str, entry: _Dispatched) -> None:
        self._chunks[chunk] = entry
        self._taken[entry.lane][entry.priority] += 1
        self._tenants[entry.tenant, entry.lane] += 1

    def _remove(self, chunk: str) -> _Dispatched | None:
        entry = self._chunks.pop(chunk, None)
        if entry is not None:
            self._taken[entry.lane][entry.priority] -= 1
            self._tenants[entry.tenant, entry.lane] -= 1
            if not self._tenants[entry.tenant, entry.lane]:
                del self._tenants[entry.tenant, entry.lane]
        return entry

    def _least(self, lane: str) -> int:
        # Five chunks for four slots: the next one is there when one ends.
        sharing = 1 + len(self.group.others(self, lane))
        return -(-5 * self.size // (8 * sharing))

    def _group_has_room(self, lane: str) -> bool:
        """Whether all windows together hold less than at their smallest: else this chunk waits behind the others'."""
        others = self.group.others(self, lane)
        return self.taken(lane) + sum(others) < self._least(lane) * (1 + len(others))

    def _size(self, lane: str, least: int) -> int:
        pace = self._paces.get(lane)
        if pace is None:
            pace = self._paces[lane] = LanePace(self.group.unqueued[lane])
        return pace.keep_between(least, self.size)
