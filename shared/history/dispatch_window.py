"""The dispatch window: how many chunks are with an engine at once, and when one without a claim is sent again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

_MAX_DOUBLINGS = 4


@dataclass(slots=True)
class _Dispatched:
    sent_at: float
    times_sent: int
    lane: str = ""
    is_claimed: bool = False


@dataclass(slots=True)
class DispatchWindow:
    """Chunks of one partition that were dispatched and are still in a plan. Times are seconds of a monotonic clock.

    Args:
        size: most chunks of each lane in the window.
        claim_timeout: a chunk without a claim for so long is due again; doubled each time, up to 16 times, so that a
            long queue is not filled with copies.
    """

    size: int
    claim_timeout: float
    _chunks: dict[str, _Dispatched] = field(default_factory=dict)

    def taken(self) -> Counter[str]:
        """How many chunks of each lane are in the window."""
        return Counter(entry.lane for entry in self._chunks.values())

    def __contains__(self, chunk: str) -> bool:
        return chunk in self._chunks

    def __len__(self) -> int:
        return len(self._chunks)

    def chunks(self) -> list[str]:
        """All chunks in the window."""
        return list(self._chunks)

    def sent(self, chunk: str, now: float, lane: str = "") -> None:
        """The chunk was sent to its engine, for the first time or again."""
        entry = self._chunks.get(chunk)
        times = 1 if entry is None else entry.times_sent + 1
        self._chunks[chunk] = _Dispatched(now, times, lane)

    def claimed(self, chunk: str, now: float, lane: str = "") -> None:
        """The chunk has a claim, of any state; `lane` counts only if this owner has not sent it."""
        self._chunks.setdefault(chunk, _Dispatched(now, 1, lane)).is_claimed = True

    def unclaimed(self, chunk: str, now: float) -> None:
        """The chunk has no claim. If it had one before, the wait for a claim begins anew."""
        entry = self._chunks.get(chunk)
        if entry is not None and entry.is_claimed:
            entry.is_claimed = False
            entry.sent_at = now

    def drop(self, chunks: Iterable[str]) -> None:
        """Remove chunks that are in no plan any more."""
        for chunk in chunks:
            self._chunks.pop(chunk, None)

    def overdue(self, now: float) -> Collection[str]:
        """Chunks that have waited for a claim too long."""
        return [
            chunk
            for chunk, entry in self._chunks.items()
            if not entry.is_claimed
            and now - entry.sent_at > self.claim_timeout * 2 ** min(entry.times_sent - 1, _MAX_DOUBLINGS)
        ]
