"""What the machines of jobs and of Claude requests share: their ends, and the mark of an acceptance."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from eldermesh.contract.cloudevents import binary_headers
from shared.history.acceptance import Acceptance
from shared.history.accepted_state import AcceptedState
from shared.history.end import End, EndKind
from shared.history.machine import NewFact, Publication
from shared.history.subject_machine import SubjectMachine
from shared.history.subject_state import subject_fact

AcceptedS = TypeVar("AcceptedS", bound=AcceptedState[Any])


class AcceptedMachine(SubjectMachine[AcceptedS], Generic[AcceptedS]):
    """The parts of a `Machine` that need only the acceptance and the end of a state."""

    __slots__ = ()

    end_kind: ClassVar[EndKind]

    def end_record(self, state: AcceptedS) -> Publication:
        """The public record of the end.

        Raises:
            ValueError: the state has no end.
        """
        acceptance, end = _end(state)
        return Publication(
            topic=self.end_kind.topic,
            key=state.subject,
            value=end.value.encode(),
            headers=binary_headers(
                event_id=f"{state.subject}:end",
                event_type=end.event_type,
                source=self.end_kind.source,
                subject=state.subject,
                time_ms=end.at,
                traceparent=acceptance.traceparent,
                tracestate=acceptance.tracestate,
            ),
        )

    def end_mark(self, state: AcceptedS) -> NewFact:
        """The fact that repeats the end in the history.

        Raises:
            ValueError: the state has no end.
        """
        acceptance, end = _end(state)
        mark = self.end_kind.mark(
            content_hash=acceptance.content_hash,
            event_type=end.event_type,
            ended_at=end.at,
            end=end.value,
            traceparent=acceptance.traceparent,
            tracestate=acceptance.tracestate,
        )
        return subject_fact(state, mark)

    def mark(self, state: AcceptedS) -> str:
        """When, from which record, and with which content it was accepted."""
        return "" if state.acceptance is None else state.acceptance.mark


def _end(state: AcceptedState[Any]) -> tuple[Acceptance, End[Any]]:
    if state.acceptance is None or state.end is None:
        raise ValueError(f"{state.subject} has no end")
    return state.acceptance, state.end
