"""What the machines of all histories do alike: an end is published, marked, and marked again behind a repeat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from shared.history.machine import Due, EndDue, MarkDue, NewFact, Publication
from shared.history.subject_state import SubjectState

SubjectS = TypeVar("SubjectS", bound=SubjectState)


class SubjectMachine(ABC, Generic[SubjectS]):
    """The parts of a `Machine` that need of a state only what all have."""

    __slots__ = ()

    @abstractmethod
    def end_record(self, state: SubjectS) -> Publication:
        """The public record of an end."""

    @abstractmethod
    def end_mark(self, state: SubjectS) -> NewFact:
        """The fact that says that it is published."""

    def end_due(self, state: SubjectS) -> Sequence[Due]:
        """What a state that is not live calls for: its end, or its mark once more.

        A repeated command may outlive the mark and would then start the subject again: the mark has to stand behind it.
        """
        if state.is_settled:
            return ()
        mark = self.end_mark(state)
        return (MarkDue(mark) if state.marked else EndDue(self.end_record(state), mark),)

    def is_ended(self, state: SubjectS) -> bool:
        """Whether it has its end."""
        return state.is_ended

    def is_settled(self, state: SubjectS) -> bool:
        """Whether it may be forgotten once the log's start has passed its last fact."""
        return state.is_settled

    def last_offset(self, state: SubjectS) -> int:
        """Offset of its last fact."""
        return state.last_offset
