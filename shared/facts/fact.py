"""What the facts of all histories share. Facts are tolerant of unknown fields, so that releases can meet.

Times are integer milliseconds since 1970, durations integer milliseconds, money integer micro-dollars: integers repeat
byte by byte where floats may not. A fact's subject is its record's key; its time is its record's time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from eldermesh.contract.times import printable_ms
from eldermesh.contract.vocabulary import ReasonText
from shared.errors import StopServiceError

FACT_TYPE_HEADER = "ce_type"

EpochMs = Annotated[int, AfterValidator(printable_ms)]
"""An instant; one that cannot be printed becomes the nearest that can, so that no state ever holds one."""


class UnreadableFactError(StopServiceError):
    """A history holds a record that no release of ours can have written: stop, rather than fold past it."""


class FactPart(BaseModel):
    """A fact, or a structured value in one."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Fact(FactPart):
    """An event in a history topic."""

    fact_type: ClassVar[str]

    def encode(self) -> bytes:
        """The record value."""
        return orjson.dumps(self.model_dump(mode="json"))


class InboxRecord(FactPart):
    """Coordinates of the inbox record a fact was made of. `topic` carries the environment's prefix."""

    topic: str
    partition: int
    offset: int

    @property
    def coordinates(self) -> str:
        """One string that names the record."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class ChunkTimes(FactPart):
    """When the run that speaks was dispatched, claimed its chunk, and began and ended these items."""

    dispatched_at: EpochMs
    claimed_at: EpochMs
    started_at: EpochMs
    ended_at: EpochMs


class TimerFired(Fact):
    """An armed timer came due."""

    fact_type = "timer.fired"

    timer_id: str


class RunFact(Fact):
    """What the run of an epoch did, told by its runner. For subjects that have one run at a time."""

    epoch: Annotated[int, Field(ge=1)]
    worker_id: str


class RunReplanned(Fact):
    """The decision to run again under a higher epoch, because the claim `replaced` is dead."""

    epoch: Annotated[int, Field(ge=2)]
    replaced: str
    deaths: int


F = TypeVar("F", bound=Fact)


def decode_fact(registry: Mapping[str, type[F]], fact_type: str, value: bytes) -> F:
    """Read a fact of the history whose facts are in `registry`, by their types.

    Raises:
        UnreadableFactError: unknown type or wrong fields.
    """
    fact = registry.get(fact_type)
    if fact is None:
        raise UnreadableFactError(f"unknown fact type {fact_type!r}")
    try:
        return fact.model_validate_json(value)
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)
        raise UnreadableFactError(f"unreadable {fact_type}: {errors}") from error


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
