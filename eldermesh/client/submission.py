"""A command as a record of an inbox: checked against the contract before anything is sent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import uuid4

from pydantic import BaseModel, TypeAdapter, ValidationError

from eldermesh.client.errors import InvalidJobError, RecordTooLargeError
from eldermesh.contract.claude_commands import ClaudeCancel, ClaudeRequest
from eldermesh.contract.cloudevents import Headers, binary_headers
from eldermesh.contract.commands import JobCancel, JobDecide, JobSubmit
from eldermesh.contract.ids import job_id_from_key, request_id_from_key
from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson
from eldermesh.contract.tenants import InboxTenant, inbox_of_tenant
from eldermesh.contract.vocabulary import MAX_RECORD_BYTES

_INBOX_TENANT: TypeAdapter[str] = TypeAdapter(InboxTenant)

Model = TypeVar("Model", bound=BaseModel)
Command = TypeVar("Command", JobSubmit, ClaudeRequest)


@dataclass(frozen=True, slots=True)
class SentRecord:
    """Where a command lies on the inbox. `topic` is the full name."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """A job that Kafka has acknowledged; the mesh has not yet judged it. `topic` is the full name of the inbox."""

    job_id: str
    topic: str
    partition: int
    offset: int
    trace_id: str


@dataclass(frozen=True, slots=True)
class Identified(Generic[Command]):
    """A command whose id is settled. `fresh`: the id was made just now, so nothing of it can be on any topic yet."""

    command: Command
    subject: str
    fresh: bool


def checked(model: type[Model], /, **fields: Any) -> Model:
    """A command of the contract.

    Raises:
        InvalidJobError: the fields break the contract.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise InvalidJobError(reasons(error)) from error


def checked_inbox(tenant: str) -> str:
    """The inbox of a tenant, without prefix.

    Raises:
        InvalidJobError: it cannot have one.
    """
    try:
        return inbox_of_tenant(_INBOX_TENANT.validate_python(tenant))
    except ValidationError as error:
        raise InvalidJobError(f"tenant: {error.errors(include_input=False, include_url=False)[0]['msg']}") from error


def identified_job(
    job: JobSubmit | None, fields: dict[str, Any], *, tenant: str | None = None
) -> Identified[JobSubmit]:
    """The submit with the id that the mesh will know it by; without `job_id` and `idempotency_key` it gets a new one.

    Args:
        job: the submit, or None if its fields are given.
        fields: of the submit.
        tenant: whose inbox it goes to; None for `jobs`.

    Raises:
        InvalidJobError: both a model and fields are given, the fields break the contract, or it is another tenant's.
    """
    if job is not None and fields:
        raise InvalidJobError("give a JobSubmit or its fields, not both")
    job = checked(JobSubmit, **fields) if job is None else job
    job = job if tenant is None else job_of_tenant(job, tenant)
    return _identified(job, job.job_id, "job_id", job_id_from_key)


def job_of_tenant(job: JobSubmit, tenant: str) -> JobSubmit:
    """The submit as the inbox of this tenant takes it.

    Raises:
        InvalidJobError: it names another tenant.
    """
    if "tenant" not in job.model_fields_set:
        return job.model_copy(update={"tenant": tenant})
    if job.tenant != tenant:
        raise InvalidJobError(f"tenant: the job is of {job.tenant}, and goes to the inbox of {tenant}: leave it out")
    return job


def identified_request(request: ClaudeRequest | str | None, fields: dict[str, Any]) -> Identified[ClaudeRequest]:
    """The request with the id that the mesh will know it by; see `identified_job`.

    Raises:
        InvalidJobError: both a model and fields are given, or the fields break the contract.
    """
    if isinstance(request, ClaudeRequest):
        if fields:
            raise InvalidJobError("give a ClaudeRequest or its fields, not both")
    else:
        request = checked(ClaudeRequest, **(fields if request is None else {"prompt": request} | fields))
    return _identified(request, request.request_id, "request_id", request_id_from_key)


def _identified(
    command: Command, given: str | None, field: str, from_key: Callable[[str, str], str]
) -> Identified[Command]:
    if given is not None:
        return Identified(command, given, fresh=False)
    if command.idempotency_key is not None:
        return Identified(command, from_key(command.tenant, command.idempotency_key), fresh=False)
    made = str(uuid4())
    return Identified(command.model_copy(update={field: made}), made, fresh=True)


def encode(command: JobSubmit | JobCancel | JobDecide | ClaudeRequest | ClaudeCancel) -> bytes:
    """The record value: I-JSON, default-valued fields left out.

    Raises:
        InvalidJobError: an item or option is not I-JSON (NaN, an integer beyond ±(2^53 - 1), nested too deeply, …).
    """
    try:
        content = command.model_dump(mode="json", exclude_defaults=True)
        raw = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
        parse_ijson(raw)
    except (UndecodableJsonError, ValueError, RecursionError) as error:
        raise InvalidJobError(f"the command is not I-JSON: {error}") from error
    return raw


def command_headers(event_type: str, source: str, job_id: str, carrier: dict[str, str]) -> Headers:
    """CloudEvents headers of a command that is sent now; `carrier` holds the trace context, if there is one."""
    return binary_headers(
        event_id=str(uuid4()),
        event_type=event_type,
        source=source,
        subject=job_id,
        time_ms=time.time_ns() // 1_000_000,
        traceparent=carrier.get("traceparent"),
        tracestate=carrier.get("tracestate"),
    )


def check_size(value: bytes, headers: Headers) -> None:
    """Compare a record with what an inline job may have.

    Raises:
        RecordTooLargeError: it is larger.
    """
    size = len(value) + sum(len(name.encode()) + len(content) for name, content in headers)
    if size > MAX_RECORD_BYTES:
        raise RecordTooLargeError(size, MAX_RECORD_BYTES)


def reasons(error: ValidationError) -> str:
    """What is wrong with a command, and where."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'the command'}: {each['msg']}"
        for each in error.errors(include_input=False, include_url=False)
    )
