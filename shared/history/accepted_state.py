"""What the states of jobs and of Claude requests share: acceptance, the stub of a cancel, the end and its mark."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, Self

from shared.facts.claude import ClaudeAccepted
from shared.facts.fact import AcceptedFact, CancelRequested, EndedFact
from shared.facts.jobs import JobAccepted
from shared.history.acceptance import Acceptance
from shared.history.command_letter import command_letter
from shared.history.end import End, Status, end_of_mark
from shared.history.machine import Folded
from shared.history.subject_state import SubjectState

STUB_MS = 24 * 3600 * 1000
"""How long a cancel that came first waits for its subject, in milliseconds between facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedState(SubjectState, Generic[Status]):
    """The state of a subject that a command made. A stub (a cancel that came first) has neither acceptance nor end.

    Attributes:
        acceptance: What made it; kept as long as it is known.
        stub_at, stub_reason: Time and reason of the cancel that came first, while nothing is accepted.
        submitted_at: Time of the command's record.
        end: Its end, once that is decided.
        accepted_since: Whether it was accepted again after its last mark.
    """

    acceptance: Acceptance | None = None
    stub_at: int | None = None
    stub_reason: str | None = None
    submitted_at: int = 0
    end: End[Status] | None = None
    accepted_since: bool = False

    @property
    def trace(self) -> Acceptance | None:
        """The acceptance, which holds the trace context."""
        return self.acceptance

    @property
    def is_made(self) -> bool:
        """Whether it was accepted, as its acceptance or its end says."""
        return self.acceptance is not None

    @property
    def is_ended(self) -> bool:
        """Whether it has its end."""
        return self.end is not None

    @property
    def is_made_again(self) -> bool:
        """Whether it was accepted again after its last mark."""
        return self.accepted_since

    @property
    def is_cancelled_first(self) -> bool:
        """Whether a cancel came before and still counts."""
        return self.stub_at is not None and self.t - self.stub_at <= STUB_MS

    def is_made_of(self, content_hash: str | None) -> bool:
        """Whether a run with this content hash is one of this subject; None: runners of earlier releases do not say.

        Another subject with the same id (from another log) can have chunks of the same names.
        """
        return self.acceptance is not None and content_hash in (None, self.acceptance.content_hash)

    def cancelled_first(self, fact: CancelRequested) -> Self:
        """The stub of a cancel that came before what it cancels: the latest such cancel counts."""
        return replace(self, stub_at=self.t, stub_reason=fact.reason)

    def accepted(self, fact: JobAccepted | ClaudeAccepted) -> Self:
        """The state after the first acceptance, which replaces a stub."""
        return replace(
            self,
            acceptance=Acceptance.of(fact, self.t),
            fold_version=fact.fold_version,
            submitted_at=fact.submitted_at,
            stub_at=None,
            stub_reason=None,
        )

    def accepted_again(self, acceptance: Acceptance, fact: AcceptedFact, *, noun: str) -> Folded[Self]:
        """The state after another acceptance of the same id: a repeat, or a conflict and its dead letter."""
        state = replace(self, accepted_since=self.marked)
        if acceptance.is_repeated_by(fact):
            return Folded(state)
        reason = f"{noun} {self.subject} exists already with other content"
        return Folded(state, conflict=command_letter(self.subject, fact, "conflict", reason))

    def with_mark(self, fact: EndedFact) -> Self:
        """The state after the mark of its end. If the earlier facts are gone, the mark alone ends it."""
        if self.end is not None:
            return replace(self, marked=True, accepted_since=False)
        return replace(
            self,
            acceptance=self.acceptance or Acceptance.of_end(fact),
            end=end_of_mark(fact),
            marked=True,
            stub_at=None,
            stub_reason=None,
        )
