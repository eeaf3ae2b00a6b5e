"""Failures that concern one subject alone: they are logged and tried again later, and no other subject waits."""

from __future__ import annotations

import traceback
from collections import OrderedDict
from dataclasses import dataclass, field

from shared.errors import MeshError
from shared.history.clock import Clock
from shared.logs.setup import get_logger

TELL_SECONDS = 60.0
FORGET_SECONDS = 2 * TELL_SECONDS
"""A failure that is not logged again for so long counts as over."""

_MOST_TOLD = 10_000
"""Most failures that are logged within a minute, so that the log can hold other lines."""

_log = get_logger(__name__)


@dataclass(slots=True)
class OwnTrouble:
    """Logs what fails for one subject: at once, then once a minute while it goes on.

    Args:
        topic: the history, for the log.
        clock: measures the minute.
    """

    topic: str
    clock: Clock
    _told: OrderedDict[tuple[str, str], float] = field(default_factory=OrderedDict)
    _new: dict[str, str] = field(default_factory=dict)
    _noted: dict[str, float] = field(default_factory=dict)

    def tell(self, subject: str, doing: str, error: Exception) -> None:
        """Log that `doing` failed for a subject (or an engine's lane)."""
        now, what = self.clock.monotonic(), (subject, doing)
        while self._told and now - self._told[next(iter(self._told))] >= TELL_SECONDS:
            self._told.popitem(last=False)
        if what in self._told or len(self._told) >= _MOST_TOLD:
            return
        self._told[what] = now
        # Only the mesh's own messages: others may quote the job.
        reason = str(error) if isinstance(error, MeshError) else f"{doing} failed: {type(error).__name__}"
        self._new[subject] = reason
        last = traceback.extract_tb(error.__traceback__)[-1:]
        _log.error(
            "a subject waits by itself",
            topic=self.topic,
            subject=subject,
            doing=doing,
            reason=reason,
            where=[f"{frame.name}, line {frame.lineno}" for frame in last],
        )

    def to_note(self) -> dict[str, str | None]:
        """Why each subject (or lane) waits, if that was logged and not `noted` yet; None: it no longer waits.

        Empty where nothing new was logged: what was noted before expires by itself.
        """
        if not self._new:
            return {}
        now = self.clock.monotonic()
        over = [subject for subject, noted_at in self._noted.items() if now - noted_at >= FORGET_SECONDS]
        return dict.fromkeys(over) | self._new

    def noted(self, trouble: dict[str, str | None]) -> None:
        """This result of `to_note` was stored."""
        now = self.clock.monotonic()
        for subject, reason in trouble.items():
            if reason is None:
                del self._noted[subject]
            else:
                self._noted[subject] = now
        self._new = {subject: reason for subject, reason in self._new.items() if trouble.get(subject) != reason}
