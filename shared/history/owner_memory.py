"""What the owner of a partition keeps in memory between a load and the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic

from shared.history.agenda import Agenda
from shared.history.dispatch_window import DispatchWindow
from shared.history.machine import S
from shared.history.snapshot import Guard
from shared.history.undecided import Undecided
from shared.history.waiting_room import WaitingRoom


@dataclass(slots=True)
class Memory(Generic[S]):
    """What an owner knows between a load and the next: dropped as a whole when ownership is in doubt."""

    guard: Guard
    position: int
    caught_up_at: int
    """The log's end when it was loaded (E)."""
    marked_ahead: frozenset[str]
    """Subjects whose end mark lies between `applied` and E (M); empty once the position has reached E."""
    states: dict[str, S]
    """Of live subjects: settled ones are recalled for a batch that names them."""
    was_ready: bool
    loaded_at: float
    agenda: Agenda
    window: DispatchWindow
    last_record: str = ""
    waiting: WaitingRoom = field(default_factory=WaitingRoom)
    undecided: Undecided = field(default_factory=Undecided)
    seen_dead: dict[str, int] = field(default_factory=dict)
    """Chunks whose claims are dead, with the log's end when that was seen first."""
    is_open: bool = False
    recalled: dict[str, S] = field(default_factory=dict)
    """Settled subjects of the batch that is being folded."""

    def state(self, subject: str) -> S | None:
        """The state before the batch; None if the subject is not known."""
        return self.states.get(subject, self.recalled.get(subject))

    def settle(self, subject: str) -> None:
        """Let go of a subject: nothing is due for it."""
        self.states.pop(subject, None)
        self.agenda.wake(subject, None)
        self.waiting.leave(subject)

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that stood in the log at load has been folded."""
        return self.position >= self.caught_up_at
