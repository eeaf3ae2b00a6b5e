"""Checks a submit: whether it is valid and can run here, and which terms the history keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, get_args
from uuid import UUID

from pydantic import JsonValue, ValidationError

from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.vocabulary import DeadLetterType
from services.router.admission.command_name import JOB_IDS
from services.router.admission.contract_support import unsupported
from services.router.admission.plugin_judge import PluginJudges
from shared.consumer.invalid_reason import reason_of
from shared.consumer.record import ConsumedRecord, headers_of, inbox_of, key_of, submitted_at
from shared.errors import DeadLetterError, RetryableError
from shared.facts.jobs import JobAccepted, JobTerms
from shared.history.keys import FOLD_VERSION
from shared.job_subject import job_subject
from shared.logs.exceptions import ends_the_task
from shared.settings import Settings
from shared.telemetry.propagation import FactTrace
from shared.text.surrogates import whole_characters
from shared.workloads import WorkloadRegistry

_MICROS = 1_000_000

_DERIVED_VERSION: Final = 5
"""Of the UUIDs that are derived from keys, events and places in the inbox."""


def judged_submit(
    value: dict[str, JsonValue],
    record: ConsumedRecord,
    settings: Settings,
    workloads: WorkloadRegistry,
    tenant_of_inbox: str | None,
) -> tuple[str, JobSubmit]:
    """The job's id and the submit, if it is valid and can run.

    Raises:
        DeadLetterError: `invalid`, with the reason and the id that the job would have had; `internal` if the workload
            fails to validate it. Plug-ins of other distributions are asked by `judged_by_plug_in` instead.
    """
    if tenant_of_inbox is not None:
        value = {"tenant": tenant_of_inbox, **value}
    try:
        submit = JobSubmit.model_validate(value)
    except ValidationError as error:
        raise DeadLetterError("invalid", reason_of(error), job_id=JOB_IDS.of_invalid(value, record)) from error
    derived = JOB_IDS.derived(submit.tenant, submit.idempotency_key, record)
    job_id = submit.job_id or derived
    if tenant_of_inbox is not None:
        _check_tenant(submit, job_id, derived, tenant_of_inbox)
    refusal = unsupported(submit)
    if refusal is not None:
        raise DeadLetterError("invalid", refusal, job_id=job_id)
    _ask_workload(submit, job_id, settings, workloads)
    return job_id, submit


def _check_tenant(submit: JobSubmit, job_id: str, derived: str, tenant_of_inbox: str) -> None:
    """A tenant submits for itself alone, and cannot take an id that the key of another tenant will give."""
    if submit.tenant != tenant_of_inbox:
        raise DeadLetterError("invalid", f"tenant: this inbox is for tenant {tenant_of_inbox} only", job_id=job_id)
    if job_id != derived and UUID(job_id).version == _DERIVED_VERSION:
        reason = "job_id: in the inbox of a tenant a UUID of version 5 has to come from this submit's own key or event"
        raise DeadLetterError("invalid", reason, job_id=job_id)


async def judged_by_plug_in(submit: JobSubmit, job_id: str, workloads: WorkloadRegistry, judges: PluginJudges) -> None:
    """Have the plug-in of another distribution validate the submit, if its workload is one.

    Raises:
        DeadLetterError: `invalid` with the plug-in's reason, or `internal`: it did not validate within its limits.
        RetryableError: no process can be started for it now.
    """
    with _dead_letters_of_workload(submit, job_id):
        if workloads.is_plug_in(submit.workload):
            await judges.judge(submit.workload, submit.options, submit.items)


def accepted_fact(
    submit: JobSubmit, content_hash: str, record: ConsumedRecord, settings: Settings, trace: FactTrace, *, now_ms: int
) -> JobAccepted:
    """What the history keeps of a submit that was read from `record`.

    A record that is delivered again gives the same content hash and the same inbox coordinates.
    """
    return JobAccepted(
        inbox=inbox_of(record),
        inbox_key_base64=key_of(record),
        inbox_headers_base64=headers_of(record),
        original=(record.value or b"").decode(),
        content_hash=content_hash,
        fold_version=FOLD_VERSION,
        terms=_terms(submit, settings),
        items_total=None if submit.items is None else len(submit.items),
        submitted_at=submitted_at(record, now_ms),
        trace_id=trace.trace_id,
        traceparent=trace.traceparent,
        tracestate=trace.tracestate,
    )


def _terms(submit: JobSubmit, settings: Settings) -> JobTerms:
    max_age = settings.max_job_age_seconds
    return JobTerms(
        workload=submit.workload,
        tenant=submit.tenant,
        submitted_by=submit.submitted_by,
        labels=submit.labels,
        priority=submit.priority,
        engine=submit.engine,
        advice=submit.advice,
        advise_within_ms=round(settings.advise_seconds * 1000) if submit.advice == "full" else 0,
        active_timeout_ms=_milliseconds(submit.active_timeout_seconds),
        expires_after_ms=_milliseconds(min(submit.expires_after_seconds or max_age, max_age)) or 1,
        item_timeout_ms=_milliseconds(submit.item_timeout_seconds),
        max_cost_micros=None if submit.max_cost_usd is None else max(1, round(submit.max_cost_usd * _MICROS)),
        max_failed_items=submit.max_failed_items,
        stream=submit.stream,
        subject=job_subject(submit.options) if submit.options.get("at_once", 1) == 1 else None,
    )


def _ask_workload(submit: JobSubmit, job_id: str, settings: Settings, workloads: WorkloadRegistry) -> None:
    with _dead_letters_of_workload(submit, job_id):
        if not workloads.is_plug_in(submit.workload):
            workloads.get(submit.workload).validate(submit.options, submit.items, settings)


@contextmanager
def _dead_letters_of_workload(submit: JobSubmit, job_id: str) -> Iterator[None]:
    try:
        yield
    except RetryableError:
        raise
    except DeadLetterError as error:
        # A plug-in chose it; consumers can read only the types of the contract.
        error_type = error.error_type if error.error_type in get_args(DeadLetterType) else "internal"
        reason = whole_characters(error.reason).strip() or f"workload {submit.workload} refused it and gave no reason"
        raise DeadLetterError(error_type, reason, job_id=job_id) from error
    except BaseException as error:
        if ends_the_task(error):
            raise
        # A plug-in's failure, even a `sys.exit`, must not stop admission of other jobs.
        reason = f"workload {submit.workload} could not judge the job: {type(error).__name__}"
        raise DeadLetterError("internal", reason, job_id=job_id) from error


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, round(seconds * 1000))
