"""The id of a request: given, or derived so that a repeat of the same request is the same one."""

from __future__ import annotations

from pydantic import JsonValue, TypeAdapter, ValidationError

from eldermesh.contract.claude_commands import ClaudeRequest
from eldermesh.contract.ids import job_id_from_record, request_id_from_cloud_event, request_id_from_key
from eldermesh.contract.vocabulary import JobId, Name, ShortText
from shared.consumer.record import ConsumedRecord

_ID: TypeAdapter[str] = TypeAdapter(JobId)
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_SHORT_TEXT: TypeAdapter[str] = TypeAdapter(ShortText)
_DEFAULT_TENANT: str = ClaudeRequest.model_fields["tenant"].default


def request_id_of(request: ClaudeRequest, record: ConsumedRecord) -> str:
    """The id of a valid request."""
    if request.request_id is not None:
        return request.request_id
    return _derived(request.tenant, request.idempotency_key, record)


def readable_request_id(value: JsonValue) -> str | None:
    """The `request_id` that a value gives, valid or not as a whole; None where there is none to be read."""
    return _valid(_ID, value["request_id"]) if isinstance(value, dict) and "request_id" in value else None


def request_id_of_invalid(value: JsonValue, record: ConsumedRecord) -> str | None:
    """The id that an invalid request would have had; None if the fields that give it are themselves invalid."""
    if not isinstance(value, dict):
        return None
    if value.get("request_id") is not None:
        return readable_request_id(value)
    tenant = _valid(_NAME, value.get("tenant", _DEFAULT_TENANT))
    key = value.get("idempotency_key")
    if tenant is None or (key is not None and _valid(_SHORT_TEXT, key) is None):
        return None
    return _derived(tenant, _valid(_SHORT_TEXT, key), record)


def _derived(tenant: str, idempotency_key: str | None, record: ConsumedRecord) -> str:
    if idempotency_key is not None:
        return request_id_from_key(tenant, idempotency_key)
    source, event_id = record.header("ce_source"), record.header("ce_id")
    if source and event_id:
        return request_id_from_cloud_event(tenant, source, event_id)
    return job_id_from_record(record.inbox, record.partition, record.offset)


def _valid(type_: TypeAdapter[str], value: JsonValue) -> str | None:
    try:
        return type_.validate_python(value, strict=True)
    except ValidationError:
        return None
