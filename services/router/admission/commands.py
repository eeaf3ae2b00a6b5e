"""Admission: turns the commands of the inboxes into facts of the job history, at least once, keyed by the job's id.

A submit becomes `job.accepted`, a cancel `job.cancel_requested` (from the inbox of a tenant
`job.tenant_cancel_requested`), a decision on a hold `job.decided`. Whether a submit is the first of its id, a repeat or
a conflict, whose job a cancel names, and whether a decision counts, is decided by the owner of the history, which alone
has their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.util.types import AttributeValue
from pydantic import ValidationError

from eldermesh.contract.cloudevents import CANCEL, DECIDE
from eldermesh.contract.commands import JobCancel, JobDecide, JobSubmit
from eldermesh.contract.ids import trace_id_of
from services.router.admission.command_name import JOB_IDS, read_command
from services.router.admission.plugin_judge import PluginJudges
from services.router.admission.submit import accepted_fact, judged_by_plug_in, judged_submit
from shared.consumer.invalid_reason import reason_of
from shared.consumer.record import ConsumedRecord, headers_of, inbox_of, key_of
from shared.errors import DeadLetterError
from shared.facts.jobs import JobCancelRequested, JobDecided, JobTenantCancelRequested
from shared.history.admitted_fact import append_admitted
from shared.history.clock import SystemClock
from shared.kafka.service_producer import Producer
from shared.kafka.topics import JOBS_HISTORY
from shared.settings import Settings
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import fact_trace
from shared.telemetry.spans import span
from shared.workloads import WorkloadRegistry

_accepted_total = metrics.get_meter("eldermesh").create_counter(
    metric_names.JOBS_ACCEPTED.name, metric_names.JOBS_ACCEPTED.unit, metric_names.JOBS_ACCEPTED.meaning
)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A valid command and its job. `repr` never shows the command."""

    job_id: str
    command: JobSubmit | JobCancel | JobDecide
    content_hash: str = ""
    """Of a submit."""

    def __repr__(self) -> str:
        return f"Admitted({type(self.command).__name__} of {self.job_id})"


class JobAdmission:
    """The record handler of `jobs` and `jobs.decisions`, or of the inbox of one tenant.

    Args:
        settings: the settings in force.
        producer: sends the facts; the caller closes it.
        workloads: what may run; they check options.
        tenant_of_inbox: the only tenant of this inbox; None if each record names its own.
        now_ms: wall clock, milliseconds since 1970; the system's if None.
    """

    def __init__(
        self,
        settings: Settings,
        producer: Producer,
        workloads: WorkloadRegistry,
        *,
        tenant_of_inbox: str | None = None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._workloads = workloads
        self._tenant_of_inbox = tenant_of_inbox
        self._now_ms = now_ms or SystemClock().now_ms
        self._judges = PluginJudges(settings)

    async def close(self) -> None:
        """End the processes in which plug-ins validate."""
        await self._judges.close()

    def decode(self, record: ConsumedRecord) -> Admitted:
        """The checked command of a record.

        Raises:
            DeadLetterError: it is not valid or not supported yet; with the job's id if that can be read or derived.
        """
        command, value = read_command(record, self._tenant_of_inbox)
        if command == CANCEL:
            return _of_job(JobCancel, value)
        if command == DECIDE:
            return _of_job(JobDecide, value)
        job_id, submit = judged_submit(value, record, self._settings, self._workloads, self._tenant_of_inbox)
        return Admitted(job_id, submit, submit.content_hash())

    def root_trace_id(self, decoded: Admitted) -> str | None:
        """The trace of a job that brought none, derived from its id."""
        return trace_id_of(decoded.job_id)

    async def handle(self, record: ConsumedRecord, decoded: Admitted) -> None:
        """Append the fact; on return all in-sync replicas have acknowledged it.

        Raises:
            DeadLetterError: the fact is larger than the history takes, or the workload's plug-in refuses the submit.
            RetryableError: the broker did not acknowledge it.
        """
        trace.get_current_span().set_attribute(names.JOB_ID, decoded.job_id)
        if isinstance(decoded.command, JobSubmit):
            await judged_by_plug_in(decoded.command, decoded.job_id, self._workloads, self._judges)
            await self._accept(record, decoded, decoded.command)
            return
        context = fact_trace(trace.get_current_span(), decoded.job_id)
        fact: JobCancelRequested | JobTenantCancelRequested | JobDecided
        if isinstance(decoded.command, JobDecide):
            fact = decided_fact(decoded.command, record)
        else:
            fact = self._cancel_fact(decoded.command, record, context.traceparent)
        await append_admitted(self._producer, self._settings, JOBS_HISTORY, decoded.job_id, fact, context)

    def _cancel_fact(
        self, cancel: JobCancel, record: ConsumedRecord, traceparent: str
    ) -> JobCancelRequested | JobTenantCancelRequested:
        if self._tenant_of_inbox is None:
            return JobCancelRequested(inbox=inbox_of(record), reason=cancel.reason, traceparent=traceparent)
        return JobTenantCancelRequested(
            inbox=inbox_of(record),
            inbox_key_base64=key_of(record),
            inbox_headers_base64=headers_of(record),
            original=(record.value or b"").decode(),
            tenant=self._tenant_of_inbox,
            reason=cancel.reason,
            traceparent=traceparent,
        )

    async def _accept(self, record: ConsumedRecord, decoded: Admitted, submit: JobSubmit) -> None:
        job_id = decoded.job_id
        attributes: dict[str, AttributeValue] = {
            names.JOB_ID: job_id,
            names.JOB_TENANT: submit.tenant,
            names.JOB_WORKLOAD: submit.workload,
            names.JOB_ITEMS_TOTAL: len(submit.items or ()),
        }
        with span(names.ACCEPT_JOB, attributes=attributes) as accepting:
            context = fact_trace(accepting, job_id)
            fact = accepted_fact(submit, decoded.content_hash, record, self._settings, context, now_ms=self._now_ms())
            await append_admitted(self._producer, self._settings, JOBS_HISTORY, job_id, fact, context)
        _accepted_total.add(1, {names.JOB_TENANT: submit.tenant, names.JOB_WORKLOAD: submit.workload})


def decided_fact(decide: JobDecide, record: ConsumedRecord) -> JobDecided:
    """What the history keeps of a decision, including all that a dead letter needs."""
    return JobDecided(
        inbox=inbox_of(record),
        inbox_key_base64=key_of(record),
        inbox_headers_base64=headers_of(record),
        original=(record.value or b"").decode(),
        decision=decide.decision,
        by=decide.by,
        reason=decide.reason,
    )


def _of_job(kind: type[JobCancel | JobDecide], value: dict[str, Any]) -> Admitted:
    try:
        command = kind.model_validate(value)
    except ValidationError as error:
        raise DeadLetterError("invalid", reason_of(error), job_id=JOB_IDS.readable(value)) from error
    return Admitted(command.job_id, command)
