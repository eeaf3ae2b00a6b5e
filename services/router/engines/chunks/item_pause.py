"""What a plug-in says of a quota, as far as it can be told: it may be anything."""

from __future__ import annotations

from typing import Final

from services.router.engines.python.item_host import bounded
from shared.errors import MeshError
from shared.retry.asked_wait import asked_seconds
from shared.workloads import PauseJobError

LARGEST_NUMBER: Final = 2**53 - 1
"""Larger ones are not the same in every reader of JSON."""

_NO_REASON = "a quota is used up"


class ItemPausedError(MeshError):
    """An item met a quota: which one, at which attempt, and what is known of the quota.

    Attributes:
        index: of the item.
        attempt: which one has cost `cost_micros`.
        reason: for people.
        resume_seconds: when to go on; None: nobody said.
        cost_micros: what the item has cost so far.
    """

    def __init__(self, index: int, attempt: int, pause: PauseJobError) -> None:
        reason = getattr(pause, "reason", None)
        self.index = index
        self.attempt = _whole_number(getattr(pause, "attempt", None), 1) or attempt
        self.reason = bounded(reason) if isinstance(reason, str) and reason else _NO_REASON
        self.resume_seconds = asked_seconds(getattr(pause, "resume_seconds", None))
        self.cost_micros = _whole_number(getattr(pause, "cost_micros", None), 0)
        super().__init__(f"item {index}: {self.reason}")


def _whole_number(value: object, least: int) -> int | None:
    """The number; None, as if nothing was said, for what is none or beyond all."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if least <= value <= LARGEST_NUMBER else None
