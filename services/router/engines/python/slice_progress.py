"""Which items of a slice run in an item host now, by what it has answered."""

from __future__ import annotations

from services.router.engines.python import item_host
from services.router.engines.python.host_answers import HostAnswer

GRACE_SECONDS = 0.5
"""What a coroutine gets to end by itself once the host has cancelled it."""


class SliceProgress:
    """The items of one slice.

    Args:
        items: how many there are.
        began: when the first can have begun, in seconds of `time.monotonic`.
        timeout_seconds: what each may take.
        at_once: whether several run at once: then the host says which, and ends late ones by itself.
    """

    def __init__(self, items: int, *, began: float, timeout_seconds: float | None, at_once: bool) -> None:
        self._items = items
        self.timeout_seconds = timeout_seconds
        self._at_once = at_once
        self._answered = 0
        self._running = {} if at_once else {0: began}
        self.is_over = False

    @property
    def running(self) -> tuple[int, ...]:
        """Positions of the items that run, or may: they have begun, and have not been answered."""
        return tuple(position for position in self._running if position < self._items)

    def late_at(self, listening_since: float) -> float | None:
        """When the next of them is late, by the same clock; None if none can be.

        Where one runs at a time, whoever listens late counts from then: the host may have had to wait until its last
        answer was read.
        """
        if self.timeout_seconds is None or not self._running:
            return None
        began = min(self._running.values())
        if self._at_once:
            return began + self.timeout_seconds + GRACE_SECONDS
        return max(began, listening_since) + self.timeout_seconds

    def late(self, listening_since: float) -> tuple[int, ...]:
        """Positions of those that are late at `late_at`."""
        late_at = self.late_at(listening_since)
        if late_at is None or self.timeout_seconds is None:
            return ()
        began_by = late_at - self.timeout_seconds
        return tuple(each for each in self.running if self._running[each] <= began_by)

    def heard(self, answer: HostAnswer) -> None:
        """The host has said this.

        Raises:
            ConnectionError: a host would not.
        """
        position = answer.position
        if answer.kind == item_host.BEGAN and self._at_once and position < self._items:
            self._running[position] = answer.began
        elif answer.kind in item_host.OUTCOMES and self._running.pop(position, None) is not None:
            self._answered += 1
            if not self._at_once:
                self._running[position + 1] = answer.ended
        elif answer.kind == item_host.OVER and position == self._answered:
            self.is_over = True
        else:
            raise ConnectionError(f"a frame of kind {answer.kind} for item {position} of a slice")
