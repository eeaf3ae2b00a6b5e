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
"""What is not told again for so long is over."""

_MOST_TOLD = 10_000
"""Of so many subjects trouble is told within a minute: of more it is not, lest the log be nothing else."""

_log = get_logger(__name__)


@dataclass(slots=True)
class OwnTrouble:
    """Tells what fails for one subject: at once, and then once a minute as long as it goes on.

    Args:
        topic: of the history.
        clock: measures the minute.
    """

    topic: str
    clock: Clock
    _told: OrderedDict[tuple[str, str], float] = field(default_factory=OrderedDict)
    _new: dict[str, str] = field(default_factory=dict)
    _noted: dict[str, float] = field(default_factory=dict)

    def tell(self, subject: str, doing: str, error: Exception) -> None:
        """Tell that `doing` failed for a subject (or an engine's lane)."""
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
        """By subject (or lane) why it waits, as told and not `noted` yet; None of one whose trouble is over.

        Nothing where nothing was told: what others have noted of it then runs out by itself.
        """
        if not self._new:
            return {}
        now = self.clock.monotonic()
        over = [subject for subject, noted_at in self._noted.items() if now - noted_at >= FORGET_SECONDS]
        return dict.fromkeys(over) | self._new

    def noted(self, trouble: dict[str, str | None]) -> None:
        """Others know this of `to_note` by now."""
        now = self.clock.monotonic()
        for subject, reason in trouble.items():
            if reason is None:
                del self._noted[subject]
            else:
                self._noted[subject] = now
        self._new = {subject: reason for subject, reason in self._new.items() if trouble.get(subject) != reason}
