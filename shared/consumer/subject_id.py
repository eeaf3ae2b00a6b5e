"""The id of what a command makes: given, or derived so that a repeat of the same command makes the same thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue, TypeAdapter, ValidationError

from eldermesh.contract.ids import job_id_from_record
from eldermesh.contract.vocabulary import JobId, Name, ShortText
from shared.consumer.record import ConsumedRecord

_ID: TypeAdapter[str] = TypeAdapter(JobId)
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_SHORT_TEXT: TypeAdapter[str] = TypeAdapter(ShortText)


@dataclass(frozen=True, slots=True)
class SubjectIds:
    """The ids of one kind of subject.

    Attributes:
        field: of the command, which may give the id.
        default_tenant: of a command that names none.
        from_key: the id of a tenant's idempotency key.
        from_cloud_event: the id of a tenant's CloudEvent, by its source and its id.
    """

    field: str
    default_tenant: str
    from_key: Callable[[str, str], str]
    from_cloud_event: Callable[[str, str, str], str]

    def readable(self, value: JsonValue) -> str | None:
        """The id that a value gives, whether or not the rest of it is valid; None where it gives no valid one."""
        return _valid(_ID, value[self.field]) if isinstance(value, dict) and self.field in value else None

    def of_invalid(self, value: JsonValue, record: ConsumedRecord) -> str | None:
        """The id that an invalid command would have had, so that its sender finds the dead letter under it.

        None if the fields that give the id are themselves invalid.
        """
        if not isinstance(value, dict):
            return None
        if value.get(self.field) is not None:
            return self.readable(value)
        tenant = _valid(_NAME, value.get("tenant", self.default_tenant))
        key = value.get("idempotency_key")
        if tenant is None or (key is not None and _valid(_SHORT_TEXT, key) is None):
            return None
        return self.derived(tenant, _valid(_SHORT_TEXT, key), record)

    def derived(self, tenant: str, idempotency_key: str | None, record: ConsumedRecord) -> str:
        """The id of a valid command that gives none: by its key, else its CloudEvent, else its place in the inbox."""
        if idempotency_key is not None:
            return self.from_key(tenant, idempotency_key)
        source, event_id = record.header("ce_source"), record.header("ce_id")
        if source and event_id:
            return self.from_cloud_event(tenant, source, event_id)
        return job_id_from_record(record.inbox, record.partition, record.offset)


def _valid(type_: TypeAdapter[str], value: JsonValue) -> str | None:
    try:
        return type_.validate_python(value, strict=True)
    except ValidationError:
        return None
