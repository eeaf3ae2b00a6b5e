"""A command as a record of `jobs`: checked against the contract before anything is sent."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from eldermesh.client.errors import InvalidJobError, RecordTooLargeError
from eldermesh.contract.claude_commands import ClaudeCancel, ClaudeRequest
from eldermesh.contract.cloudevents import Headers, binary_headers
from eldermesh.contract.commands import JobCancel, JobDecide, JobSubmit
from eldermesh.contract.ids import job_id_from_key
from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson
from eldermesh.contract.vocabulary import MAX_RECORD_BYTES, Decision


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
class KnownSubmit:
    """A submit whose job id is settled. `fresh`: the id was made just now, so nothing of it can be on any topic yet."""

    job: JobSubmit
    job_id: str
    fresh: bool


def known_submit(job: JobSubmit | None, fields: dict[str, Any]) -> KnownSubmit:
    """The submit with the id that the mesh will know it by; without `job_id` and `idempotency_key` it gets a new one.

    Raises:
        InvalidJobError: both a model and fields are given, or the fields break the contract.
    """
    if job is not None and fields:
        raise InvalidJobError("give a JobSubmit or its fields, not both")
    if job is None:
        try:
            job = JobSubmit.model_validate(fields)
        except ValidationError as error:
            raise InvalidJobError(reasons(error)) from error
    if job.job_id is not None:
        return KnownSubmit(job, job.job_id, fresh=False)
    if job.idempotency_key is not None:
        return KnownSubmit(job, job_id_from_key(job.tenant, job.idempotency_key), fresh=False)
    job_id = str(uuid4())
    return KnownSubmit(job.model_copy(update={"job_id": job_id}), job_id, fresh=True)


def cancel_command(job_id: str, reason: str | None) -> JobCancel:
    """The command that ends a job.

    Raises:
        InvalidJobError: `job_id` is no lower-case UUID, or the reason is too long.
    """
    try:
        return JobCancel(job_id=job_id, reason=reason)
    except ValidationError as error:
        raise InvalidJobError(reasons(error)) from error


def decide_command(job_id: str, decision: Decision, by: str, reason: str | None) -> JobDecide:
    """The command that decides on a hold.

    Raises:
        InvalidJobError: `job_id` is no lower-case UUID, `by` is empty, or one of the texts is too long.
    """
    try:
        return JobDecide(job_id=job_id, decision=decision, by=by, reason=reason)
    except ValidationError as error:
        raise InvalidJobError(reasons(error)) from error


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
