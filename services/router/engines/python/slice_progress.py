"""Which items of a slice run in an item host now, by what it has answered."""

from __future__ import annotations

from services.router.engines.python.host_answers import HostAnswer
from services.router.engines.python.item_host import frames

GRACE_SECONDS = 0.5
"""What a coroutine gets to end by itself once the host has cancelled it."""

BEGIN_SECONDS = 30.0
"""What a host gets to take a slice and to begin it."""


def begin_seconds(item_timeout_seconds: float | None) -> float:
    """The same where items have a time limit."""
    return BEGIN_SECONDS if item_timeout_seconds is None else min(item_timeout_seconds, BEGIN_SECONDS)


class SliceProgress:
    """The items of one slice. All times are seconds of `time.monotonic`.

    Args:
        items: how many there are.
        began: when the first can have begun.
        timeout_seconds: what each may take.
        at_once: whether several run at once: then the host says of each that it begins, and ends late ones by itself.
            Else it says so of the first alone.
    """

    def __init__(self, items: int, *, began: float, timeout_seconds: float | None, at_once: bool) -> None:
        self._items = items
        self.began = began
        self.timeout_seconds = timeout_seconds
        self._at_once = at_once
        self._answered = 0
        self._begun: set[int] = set()
        self._running: dict[int, float] = {}
        self._listening_since = self._heard_at = began
        self.is_over = False

    @property
    def running(self) -> tuple[int, ...]:
        """Positions of the items that run, or may: they have begun, and have not been answered."""
        return tuple(position for position in self._running if position < self._items)

    @property
    def has_begun(self) -> bool:
        """Whether any item has."""
        return bool(self._begun)

    @property
    def late_at(self) -> float | None:
        """When something has taken too long: an item, or the host, if none runs; None if nothing can.

        A host says that the first item begins before it calls user code. So that has a limit of its own.
        """
        if not self._begun:
            return self._heard_at + begin_seconds(self.timeout_seconds) + (GRACE_SECONDS if self._at_once else 0.0)
        if self.timeout_seconds is None:
            return None
        since = min(self._running.values(), default=self._heard_at)
        return since + self.timeout_seconds + (GRACE_SECONDS if self._at_once else 0.0)

    def listening(self, *, not_since: float, now: float) -> None:
        """Nobody listened to the host between these times.

        It may have had to wait until its answers were read, so that does not count against the items that ran.
        """
        self._running = {
            position: began + max(0.0, now - max(began, not_since)) for position, began in self._running.items()
        }
        self._listening_since = self._heard_at = now

    def heard(self, answer: HostAnswer, now: float) -> None:
        """The host has said this; of its times only those are believed that can be.

        Raises:
            ConnectionError: a host would not.
        """
        position = answer.position
        may_begin = position < self._items if self._at_once else position == 0
        if answer.kind == frames.BEGAN and may_begin and position not in self._begun:
            self._begun.add(position)
            self._running[position] = self._believed(answer.began, now)
        elif answer.kind in frames.OUTCOMES and self._running.pop(position, None) is not None:
            self._answered += 1
            if not self._at_once:
                self._running[position + 1] = self._believed(answer.ended, now)
        elif answer.kind == frames.OVER and position == self._answered:
            self.is_over = True
        else:
            raise ConnectionError(f"a frame of kind {answer.kind} for item {position} of a slice")

    def _believed(self, told: float, now: float) -> float:
        """A time that the host has told; also for what is no number, one between the last look and now."""
        since = self._listening_since
        return told if since <= told <= now else since if told < since else now
