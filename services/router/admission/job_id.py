"""The id of a job: given by its submit, or derived from it."""

from __future__ import annotations

from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.ids import job_id_from_cloud_event, job_id_from_key
from shared.consumer.record import ConsumedRecord
from shared.consumer.subject_id import SubjectIds

JOB_IDS = SubjectIds("job_id", JobSubmit.model_fields["tenant"].default, job_id_from_key, job_id_from_cloud_event)


def job_id_of(submit: JobSubmit, record: ConsumedRecord) -> str:
    """The id of a valid submit."""
    return submit.job_id or JOB_IDS.derived(submit.tenant, submit.idempotency_key, record)
