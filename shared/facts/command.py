"""Facts that are made of commands, and the fact of an end: what those of jobs and of Claude requests have in common."""

from __future__ import annotations

from eldermesh.contract.vocabulary import ReasonText
from shared.facts.fact import EpochMs, Fact, InboxRecord


class CommandFact(Fact):
    """Made of a command, which it keeps as it came: all that a dead letter of the command needs."""

    inbox: InboxRecord
    inbox_key_base64: str | None = None
    inbox_headers_base64: tuple[tuple[str, str], ...] = ()
    original: str
    """The command as it came (I-JSON, hence text); what the fact does not repeat is read from here."""


class AcceptedFact(CommandFact):
    """Admission found a command valid. The first of an id makes the subject; other content under it is a conflict."""

    content_hash: str
    fold_version: int = 1
    """The subject is folded by this version, whichever release folds it."""


class CancelRequested(Fact):
    """Somebody asked that the subject ends."""

    inbox: InboxRecord
    reason: ReasonText | None = None
    traceparent: str | None = None


class EndedFact(Fact):
    """The mark of an end that is published: it ends the subject even if all other facts are gone."""

    content_hash: str
    event_type: str
    ended_at: EpochMs
    end: str
    """The value as it is published, as text."""
    traceparent: str
    tracestate: str | None = None
