"""What a record of the inbox `jobs` means by the contract. Pure; used to check the contract."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from eldermesh.contract.cloudevents import CANCEL, SUBMIT
from eldermesh.contract.commands import JobCancel, JobSubmit
from eldermesh.contract.ids import job_id_from_cloud_event, job_id_from_key, job_id_from_record
from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson
from eldermesh.contract.records import PublicRecord


@dataclass(frozen=True, slots=True)
class InboxSubmit:
    """A valid submit, under the id that the mesh knows it by. `offset_key` is (partition, offset)."""

    job_id: str
    content_hash: str
    max_failed_items: int
    offset_key: tuple[int, int]


def read_submit(record: PublicRecord) -> InboxSubmit | str | None:
    """The submit; why the record is no valid command; None for another valid command.

    A workload may refuse what is valid here, as `claude` refuses an empty prompt.
    """
    event_type = record.header("ce_type")
    if event_type not in {None, "", SUBMIT, CANCEL}:
        return f"unknown event type {event_type}"
    try:
        value = parse_ijson(record.value or b"")
        if event_type == CANCEL:
            JobCancel.model_validate(value)
            return None
        submit = JobSubmit.model_validate(value)
        content_hash = submit.content_hash()
    except UndecodableJsonError as error:
        return str(error)
    except ValidationError as error:
        return "; ".join(each["msg"] for each in error.errors(include_input=False, include_url=False))
    return InboxSubmit(
        _job_id(submit, record), content_hash, submit.max_failed_items, (record.partition, record.offset)
    )


def _job_id(submit: JobSubmit, record: PublicRecord) -> str:
    if submit.job_id is not None:
        return submit.job_id
    if submit.idempotency_key is not None:
        return job_id_from_key(submit.tenant, submit.idempotency_key)
    source, event_id = record.header("ce_source"), record.header("ce_id")
    if source and event_id:
        return job_id_from_cloud_event(submit.tenant, source, event_id)
    return job_id_from_record(record.topic, record.partition, record.offset)
