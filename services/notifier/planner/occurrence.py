"""The events that rules can match: the end of a job, a hold, and the reminder of a hold, from the public topics."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from eldermesh.contract.cloudevents import CANCELLED, COMPLETED, FAILED, HELD, HOLD_REMINDER, REJECTED
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.holds import JobHold
from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson
from eldermesh.contract.times import parse_time
from services.notifier.rules.schema import EventKind
from shared.consumer.invalid_reason import reason_of
from shared.consumer.record import ConsumedRecord
from shared.errors import DeadLetterError

_ENDS = frozenset({COMPLETED, FAILED, CANCELLED, REJECTED})
_HOLDS: dict[str, EventKind] = {HELD: "hold", HOLD_REMINDER: "reminder"}
TOLD_TYPES = _ENDS | set(_HOLDS)
"""Types of the events that rules can match; all others are skipped."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One event.

    Attributes:
        kind: The name in a rule's `on`.
        key: Identifies the event in its job: `end`, `hold:1`, `hold-reminder:1`.
        event_type: Its `ce_type`.
        at_ms: When it happened, milliseconds since 1970.
    """

    kind: EventKind
    key: str
    event_type: str
    at_ms: int
    record: JobEnd | JobHold

    @property
    def job_id(self) -> str:
        """The job of the event."""
        return self.record.job_id

    @property
    def duration_seconds(self) -> float | None:
        """From acceptance to end; None for a hold."""
        if isinstance(self.record, JobHold):
            return None
        return max(0, parse_time(self.record.ended_at) - parse_time(self.record.accepted_at)) / 1000


def occurrence_of(record: ConsumedRecord) -> Occurrence:
    """The event in a record whose type is one of `TOLD_TYPES`.

    Raises:
        DeadLetterError: it is not such an event.
    """
    event_type = record.header("ce_type") or ""
    try:
        value = parse_ijson(record.value or b"")
    except UndecodableJsonError as error:
        raise DeadLetterError("undecodable", str(error)) from error
    try:
        if event_type in _ENDS:
            end = JobEnd.model_validate(value)
            return Occurrence("end", "end", event_type, parse_time(end.ended_at), end)
        hold = JobHold.model_validate(value)
    except ValidationError as error:
        raise DeadLetterError("invalid", reason_of(error)) from error
    kind = _HOLDS[event_type]
    key = f"hold:{hold.hold}" if kind == "hold" else f"hold-reminder:{hold.hold}"
    return Occurrence(kind, key, event_type, parse_time(hold.recorded_at), hold)
