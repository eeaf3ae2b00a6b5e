"""The end of a job or a Claude request: built once, by the deciding fact, then published, then marked in the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args

from eldermesh.contract.vocabulary import EndStatus
from shared.facts.fact import EndedFact, UnreadableFactError

Status = TypeVar("Status", bound=str)


@dataclass(frozen=True, slots=True)
class End(Generic[Status]):
    """The end as it is published. `at` is the time of the deciding fact, `value` the record's value as text."""

    status: Status
    event_type: str
    at: int
    value: str


@dataclass(frozen=True, slots=True)
class EndKind:
    """How the ends of one kind of subject are published.

    Attributes:
        topic: where they are published, without prefix.
        source: who publishes them, as CloudEvents name it.
        mark: the fact that says that an end is published.
    """

    topic: str
    source: str
    mark: type[EndedFact]


def end_of_mark(fact: EndedFact) -> End[Any]:
    """The end that its mark repeats; its status is the third word of the event's type.

    Raises:
        UnreadableFactError: this release knows no such end.
    """
    status = fact.event_type.split(".")[2]
    if status not in get_args(EndStatus):
        raise UnreadableFactError(f"an end {status!r} is not known")
    return End(status, fact.event_type, fact.ended_at, fact.end)
