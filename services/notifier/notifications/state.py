"""A notification's state, folded from its facts in log order. Times are integer milliseconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from pydantic import TypeAdapter

from shared.facts.notifications import NotificationPlanned, NotificationStatus
from shared.history.chunk_id import ChunkId
from shared.history.subject_state import SubjectState


@dataclass(frozen=True, slots=True)
class End:
    """How it ended; built once, from the fact that decides it."""

    status: NotificationStatus
    at: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class NotificationState(SubjectState):
    """The state of one notification.

    Attributes:
        planned: What to send; dropped when the end is marked.
        planned_at: Time of that fact.
        epoch: Of the current run; the first is 1.
        deaths: Runs that died in a row.
        attempts: The number of sends that began, as far as is known.
        resume_at: When the timer of a postponement comes due; None while nothing is postponed.
        arming: How often that timer was armed.
        planned_since: Whether it was planned again after its end was marked; retention may delete the mark first.
    """

    notification_id: str
    planned: NotificationPlanned | None = None
    planned_at: int = 0
    epoch: int = 1
    deaths: int = 0
    attempts: int = 0
    resume_at: int | None = None
    arming: int = 0
    end: End | None = None
    planned_since: bool = False

    @property
    def subject(self) -> str:
        """The notification id."""
        return self.notification_id

    @property
    def trace(self) -> NotificationPlanned | None:
        """The plan, which has the trace."""
        return self.planned

    @property
    def is_made(self) -> bool:
        """Whether it has a plan."""
        return self.planned is not None

    @property
    def is_ended(self) -> bool:
        """Whether it has its end."""
        return self.end is not None

    @property
    def is_made_again(self) -> bool:
        """Whether it was planned again after its end was marked."""
        return self.planned_since

    @property
    def chunk(self) -> ChunkId:
        """The only chunk of a live notification: its message, as item 0."""
        return ChunkId(self.notification_id, 0, self.epoch, 0, 0)

    @property
    def expires_timer(self) -> str:
        """Id of the timer that ends it, armed once."""
        return f"{self.notification_id}:expires:1"

    @property
    def resume_timer(self) -> str:
        """Id of the last timer that ends a postponement."""
        return f"{self.notification_id}:resume:{self.arming}"


@cache
def state_adapter() -> TypeAdapter[NotificationState]:
    """Serialiser of states."""
    return TypeAdapter(NotificationState)
