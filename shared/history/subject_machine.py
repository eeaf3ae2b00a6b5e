"""What the machines of all histories share: an end is published, marked, and marked again after a repeat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from shared.history.chunk_id import ChunkId
from shared.history.machine import ChunkChanges, Due, EndDue, MarkDue, NewFact, Publication
from shared.history.subject_state import SubjectState

SubjectS = TypeVar("SubjectS", bound=SubjectState)


class SubjectMachine(ABC, Generic[SubjectS]):
    """The parts of a `Machine` that need only what every state has."""

    __slots__ = ()

    @abstractmethod
    def end_record(self, state: SubjectS) -> Publication:
        """The public record of an end."""

    @abstractmethod
    def end_mark(self, state: SubjectS) -> NewFact:
        """The fact that says that the end is published."""

    @abstractmethod
    def chunks(self, state: SubjectS) -> Iterable[ChunkId]:
        """The chunks that stand in the plan, in dispatch order."""

    def chunk_changes(self, before: SubjectS | None, after: SubjectS) -> ChunkChanges:
        """What facts have changed in a plan of few chunks."""
        old = () if before is None else [str(chunk) for chunk in self.chunks(before)]
        new = [str(chunk) for chunk in self.chunks(after)]
        come = [chunk for chunk in new if chunk not in old]
        return ChunkChanges([chunk for chunk in old if chunk not in new], come, len(come))

    def end_due(self, state: SubjectS) -> Sequence[Due]:
        """What is due for a state that is not live: its end, or its mark once more.

        Retention may delete the mark before a repeat of the command, which would then start the subject again. So the
        mark is appended once more after the repeat.
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
