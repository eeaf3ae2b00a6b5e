"""What the states of all histories' subjects have in common. All times are integer milliseconds since 1970."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Protocol, Self

from shared.facts.fact import Fact
from shared.history.facts import FactRecord, fact_headers
from shared.history.keys import FOLD_VERSION
from shared.history.machine import NewFact


class Traced(Protocol):
    """Holds the trace context of a subject: what accepted or planned it."""

    @property
    def traceparent(self) -> str | None:
        """Of W3C."""

    @property
    def tracestate(self) -> str | None:
        """Of W3C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectState(ABC):
    """Where a subject stands in its log.

    Attributes:
        t: Time of its latest fact; it never goes back.
        first_offset, last_offset: Of its first and its latest fact.
        fold_version: It is folded by this version of the fold.
        marked: Whether the log says that its end is published.
    """

    t: int
    first_offset: int
    last_offset: int
    fold_version: int = FOLD_VERSION
    marked: bool = False

    @property
    @abstractmethod
    def subject(self) -> str:
        """Its id, which is the key of its facts."""

    @property
    @abstractmethod
    def trace(self) -> Traced | None:
        """Holds the trace of its facts; None where that is not known."""

    @property
    @abstractmethod
    def is_made(self) -> bool:
        """Whether what made it is known."""

    @property
    @abstractmethod
    def is_ended(self) -> bool:
        """Whether it has its end."""

    @property
    @abstractmethod
    def is_made_again(self) -> bool:
        """Whether its command was repeated after its end was marked: retention may drop the mark first."""

    @property
    def is_live(self) -> bool:
        """Made and not ended."""
        return self.is_made and not self.is_ended

    @property
    def is_settled(self) -> bool:
        """Whether it may be forgotten with its facts: its end is marked after its last repeat, or nothing made it."""
        return (self.marked or not self.is_made) and not self.is_made_again

    def at(self, record: FactRecord) -> Self:
        """The state with the time and the offset of a fact."""
        return replace(self, t=max(self.t, record.time_ms), last_offset=record.offset)


def subject_fact(state: SubjectState, fact: Fact) -> NewFact:
    """The fact as it is appended: under its subject's id and in its trace, where that is known."""
    trace = state.trace
    traceparent, tracestate = (None, None) if trace is None else (trace.traceparent, trace.tracestate)
    headers = fact_headers(fact.fact_type, state.subject, traceparent, tracestate)
    return NewFact(fact.fact_type, fact.encode(), headers)
