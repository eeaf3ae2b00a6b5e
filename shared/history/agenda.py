"""Which states have to be asked what is due, and what was requested already."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

_SPARE_ALARMS = 1000
"""The heap may hold so many entries beyond twice the alarms that count, before it is built anew."""


@dataclass(slots=True)
class Agenda:
    """Keeps an owner from asking every state at every step, and from asking twice for one thing.

    What is due is level-triggered: whatever is forgotten here is found again by the next full sweep.
    """

    _asked: dict[str, int] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    _attention: set[str] = field(default_factory=set)
    _alarms: list[tuple[int, str]] = field(default_factory=list)
    _alarm_of: dict[str, int] = field(default_factory=dict)

    def asked(self, what: str, offset: int) -> None:
        """`what` was appended at `offset`: do not ask for it again before the fold has passed that."""
        self._asked[what] = offset

    def may_ask(self, what: str, position: int, now: float) -> bool:
        """Whether `what` is not on its way already."""
        if self._not_before.get(what, now) > now:
            return False
        self._not_before.pop(what, None)
        offset = self._asked.get(what)
        if offset is None:
            return True
        if position <= offset:
            return False
        del self._asked[what]
        return True

    def postpone(self, what: str, until: float) -> None:
        """Do not ask for `what` before a monotonic time."""
        self._not_before[what] = until

    def attend(self, subject: str) -> None:
        """Ask this subject at the next step."""
        self._attention.add(subject)

    def wake(self, subject: str, at_ms: int | None) -> None:
        """Ask this subject when its timer comes due."""
        if at_ms is None:
            self._alarm_of.pop(subject, None)
        elif self._alarm_of.get(subject) != at_ms:
            self._alarm_of[subject] = at_ms
            heapq.heappush(self._alarms, (at_ms, subject))

    def take(self, now_ms: int) -> set[str]:
        """The subjects to ask now."""
        while self._alarms and self._alarms[0][0] <= now_ms:
            at_ms, subject = heapq.heappop(self._alarms)
            if self._alarm_of.get(subject) == at_ms:
                del self._alarm_of[subject]
                self._attention.add(subject)
        taken, self._attention = self._attention, set()
        return taken

    def next_wake(self) -> int | None:
        """When the earliest timer comes due, in milliseconds since 1970."""
        return self._alarms[0][0] if self._alarms else None

    def forget_passed(self, position: int, now: float) -> None:
        """Drop what the fold or the clock has passed."""
        self._asked = {what: offset for what, offset in self._asked.items() if offset >= position}
        self._not_before = {what: until for what, until in self._not_before.items() if until > now}
        if len(self._alarms) > 2 * len(self._alarm_of) + _SPARE_ALARMS:
            self._alarms = [(at_ms, subject) for subject, at_ms in self._alarm_of.items()]
            heapq.heapify(self._alarms)
