"""How a job or a Claude request was accepted, as far as that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from shared.facts.claude import ClaudeAccepted
from shared.facts.fact import AcceptedFact, EndedFact
from shared.facts.jobs import JobAccepted


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What made the subject.

    Attributes:
        content_hash: Of the command: other content under the same id is a conflict.
        at: Time of the fact.
        inbox: Coordinates of the command's record; empty where only the end is known.
        trace_id, traceparent, tracestate: The trace of all that happens to the subject.
    """

    content_hash: str
    at: int
    inbox: str
    trace_id: str
    traceparent: str
    tracestate: str | None

    @classmethod
    def of(cls, fact: JobAccepted | ClaudeAccepted, at: int) -> Self:
        """From the first acceptance of an id; `at` is the time of that fact."""
        inbox = fact.inbox.coordinates
        return cls(fact.content_hash, at, inbox, fact.trace_id, fact.traceparent, fact.tracestate)

    @classmethod
    def of_end(cls, fact: EndedFact) -> Self:
        """From the mark of an end, when the earlier facts are gone."""
        trace_id = fact.traceparent[3:35]
        return cls(fact.content_hash, fact.ended_at, "", trace_id, fact.traceparent, fact.tracestate)

    @property
    def mark(self) -> str:
        """Time, record and content hash: tells this acceptance from another one of the same id."""
        return f"{self.at}/{self.inbox}/{self.content_hash}"

    def is_repeated_by(self, fact: AcceptedFact) -> bool:
        """Whether this is the same command: the very record, or the same content."""
        return fact.inbox.coordinates == self.inbox or fact.content_hash == self.content_hash
