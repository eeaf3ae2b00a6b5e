"""What the facts of all histories share. Facts are tolerant of unknown fields, so that releases can meet.

Times are integer milliseconds since 1970, durations integer milliseconds, money integer micro-dollars: integers repeat
byte by byte where floats may not. A fact's subject is its record's key; its time is its record's time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from eldermesh.contract.times import printable_ms
from shared.errors import StopServiceError

FACT_TYPE_HEADER = "ce_type"

EpochMs = Annotated[int, AfterValidator(printable_ms)]
"""An instant; one that cannot be printed becomes the nearest that can, so that no state ever holds one."""


class UnreadableFactError(StopServiceError):
    """A history holds a record that no release of ours can have written: stop, rather than fold past it."""


class Fact(BaseModel):
    """An event in a history topic."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    fact_type: ClassVar[str]

    def encode(self) -> bytes:
        """The record value."""
        return orjson.dumps(self.model_dump(mode="json"))


class InboxRecord(BaseModel):
    """Coordinates of the inbox record a fact was made of. `topic` carries the environment's prefix."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: str
    partition: int
    offset: int

    @property
    def coordinates(self) -> str:
        """One string that names the record."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class ChunkTimes(BaseModel):
    """When the run that speaks was dispatched, claimed its chunk, and began and ended these items."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dispatched_at: EpochMs
    claimed_at: EpochMs
    started_at: EpochMs
    ended_at: EpochMs


class TimerFired(Fact):
    """An armed timer came due. `timer_id` is `{job_id}:{name}:{arming}`; only the armed number counts."""

    fact_type = "timer.fired"

    timer_id: str


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
