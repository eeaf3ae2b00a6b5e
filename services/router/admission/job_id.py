"""The job id of a submit: given, or derived so that a repeat of the same submit is the same job."""

from __future__ import annotations

from pydantic import JsonValue, TypeAdapter, ValidationError

from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.ids import job_id_from_cloud_event, job_id_from_key, job_id_from_record
from eldermesh.contract.vocabulary import JobId, Name, ShortText
from shared.consumer.record import ConsumedRecord

_JOB_ID: TypeAdapter[str] = TypeAdapter(JobId)
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_SHORT_TEXT: TypeAdapter[str] = TypeAdapter(ShortText)

DEFAULT_TENANT: str = JobSubmit.model_fields["tenant"].default


def job_id_of(submit: JobSubmit, record: ConsumedRecord) -> str:
    """The id of a valid submit."""
    if submit.job_id is not None:
        return submit.job_id
    return _derived(submit.tenant, submit.idempotency_key, record)


def readable_job_id(value: JsonValue) -> str | None:
    """The `job_id` that a value gives, valid or not as a whole; None where there is none to be read."""
    return _valid(_JOB_ID, value["job_id"]) if isinstance(value, dict) and "job_id" in value else None


def job_id_of_invalid(value: JsonValue, record: ConsumedRecord) -> str | None:
    """The id that an invalid submit would have had, so that its sender finds the dead letter under it.

    None if the fields that give the id are themselves invalid.
    """
    if not isinstance(value, dict):
        return None
    if value.get("job_id") is not None:
        return readable_job_id(value)
    tenant = _valid(_NAME, value.get("tenant", DEFAULT_TENANT))
    key = value.get("idempotency_key")
    if tenant is None or (key is not None and _valid(_SHORT_TEXT, key) is None):
        return None
    return _derived(tenant, _valid(_SHORT_TEXT, key), record)


def _derived(tenant: str, idempotency_key: str | None, record: ConsumedRecord) -> str:
    if idempotency_key is not None:
        return job_id_from_key(tenant, idempotency_key)
    source, event_id = record.header("ce_source"), record.header("ce_id")
    if source and event_id:
        return job_id_from_cloud_event(tenant, source, event_id)
    return job_id_from_record(record.inbox, record.partition, record.offset)


def _valid(type_: TypeAdapter[str], value: JsonValue) -> str | None:
    try:
        return type_.validate_python(value, strict=True)
    except ValidationError:
        return None
