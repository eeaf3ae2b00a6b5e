"""What a record of `jobs`, or of the inbox of a tenant, means by the contract. Pure; used to check the contract."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from eldermesh.contract.cloudevents import CANCEL, SUBMIT
from eldermesh.contract.commands import JobCancel, JobSubmit
from eldermesh.contract.ids import job_id_from_cloud_event, job_id_from_key, job_id_from_record
from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.tenants import tenant_of_inbox

Coordinates = tuple[str, int, int]
"""Topic without prefix, partition, offset."""


@dataclass(frozen=True, slots=True)
class InboxSubmit:
    """A valid submit, under the id that the mesh knows it by."""

    job_id: str
    content_hash: str
    max_failed_items: int
    coordinates: Coordinates


def read_submit(record: PublicRecord) -> InboxSubmit | str | None:
    """The submit; why the record is no valid command; None for another valid command.

    A workload may refuse what is valid here, as `claude` refuses an empty prompt.
    """
    tenant = tenant_of_inbox(record.topic)
    event_type = record.header("ce_type")
    if event_type not in {None, "", SUBMIT, CANCEL}:
        return f"unknown event type {event_type}"
    try:
        value = parse_ijson(record.value or b"")
        if event_type == CANCEL:
            JobCancel.model_validate(value)
            return None
        if tenant is not None and isinstance(value, dict):
            value = {"tenant": tenant, **value}
        submit = JobSubmit.model_validate(value)
        content_hash = submit.content_hash()
    except UndecodableJsonError as error:
        return str(error)
    except ValidationError as error:
        return "; ".join(each["msg"] for each in error.errors(include_input=False, include_url=False))
    if tenant not in {None, submit.tenant}:
        return f"tenant: this inbox is for tenant {tenant} only"
    coordinates = (record.topic, record.partition, record.offset)
    return InboxSubmit(_job_id(submit, record), content_hash, submit.max_failed_items, coordinates)


def _job_id(submit: JobSubmit, record: PublicRecord) -> str:
    if submit.job_id is not None:
        return submit.job_id
    if submit.idempotency_key is not None:
        return job_id_from_key(submit.tenant, submit.idempotency_key)
    source, event_id = record.header("ce_source"), record.header("ce_id")
    if source and event_id:
        return job_id_from_cloud_event(submit.tenant, source, event_id)
    return job_id_from_record(record.topic, record.partition, record.offset)
