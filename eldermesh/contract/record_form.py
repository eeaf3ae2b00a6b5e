"""The form of single public records: headers, names of fields, types, times. Pure; used to check the contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from eldermesh.contract import cloudevents
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.holds import JobHold, hold_event_id
from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.results import ItemResult, JobProgress
from eldermesh.contract.times import parse_time
from eldermesh.contract.vocabulary import TIME_PATTERN

_TIME = re.compile(TIME_PATTERN)
_TRACEPARENT = re.compile(r"00-(?P<trace_id>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_HOLD_PARTS: Mapping[str, Literal["reminder", "ended"]] = {
    cloudevents.HOLD_REMINDER: "reminder",
    cloudevents.HOLD_ENDED: "ended",
}

Model = TypeVar("Model", bound=BaseModel)


def read_progress(record: PublicRecord) -> tuple[JobProgress | None, list[str]]:
    """A record of `jobs.progress` and what is wrong with its form; None if it cannot be read at all."""
    progress, value, problems = _read(record, JobProgress)
    if progress is None or value is None:
        return None, problems
    for number, result in enumerate(value["results"]):
        problems += [f"results[{number}] lacks {name}" for name in ItemResult.model_fields if name not in result]
    for result in progress.results:
        if (result.status == "succeeded") != (result.error_type is None):
            problems.append(f"item {result.item_index} is {result.status} with error_type {result.error_type}")
        for name in ("duration_seconds", "cost_usd"):
            if (getattr(result, name) or 0) < 0:
                problems.append(f"item {result.item_index} has a negative {name}")
    problems += _times(recorded_at=progress.recorded_at)
    problems += _headers(
        record,
        progress.job_id,
        progress.trace_id,
        event_id=f"{progress.job_id}:progress:{progress.sequence}",
        event_type=cloudevents.PROGRESS,
    )
    return progress, problems


def read_end(record: PublicRecord) -> tuple[JobEnd | None, list[str]]:
    """A record of `jobs.done` and what is wrong with its form; None if it cannot be read at all."""
    end, value, problems = _read(record, JobEnd)
    if end is None or value is None:
        return None, problems
    problems += _times(accepted_at=end.accepted_at, ended_at=end.ended_at)
    if not problems and parse_time(end.ended_at) < parse_time(end.accepted_at):
        problems.append(f"ended_at {end.ended_at} is before accepted_at {end.accepted_at}")
    if (end.status == "completed") != (end.error_type is None):
        problems.append(f"status {end.status} with error_type {end.error_type}")
    problems += [f"{name} is negative" for name, number in value.items() if _is_number(number) and number < 0]
    problems += _headers(
        record,
        end.job_id,
        end.trace_id,
        event_id=f"{end.job_id}:end",
        event_type=f"eldermesh.job.{end.status}.v1",
    )
    return end, problems


def read_hold(record: PublicRecord) -> tuple[JobHold | None, list[str]]:
    """A record of `jobs.holds` and what is wrong with its form; None if it cannot be read at all."""
    hold, value, problems = _read(record, JobHold)
    if hold is None or value is None:
        return None, problems
    problems += _times(held_at=hold.held_at, until=hold.until, recorded_at=hold.recorded_at)
    part = _HOLD_PARTS.get(record.header("ce_type") or "")
    if (hold.outcome is not None) != (part == "ended"):
        problems.append(f"outcome {hold.outcome} in {record.header('ce_type')}")
    if (hold.by is not None) != (hold.outcome in ("approved", "rejected")):
        problems.append(f"outcome {hold.outcome} by {hold.by!r}")
    problems += _headers(
        record,
        hold.job_id,
        hold.trace_id,
        event_id=hold_event_id(hold.job_id, hold.hold, part),
        event_type={None: cloudevents.HELD, "reminder": cloudevents.HOLD_REMINDER, "ended": cloudevents.HOLD_ENDED}[
            part
        ],
    )
    return hold, problems


def read_dead_letter(record: PublicRecord) -> tuple[DeadLetterHeaders | None, list[str]]:
    """A record of `jobs.dead` and what is wrong with its form; None if it has no provenance."""
    try:
        letter = DeadLetterHeaders.decode(record.headers)
    except ValueError as error:
        return None, [f"no readable provenance: {error}"]
    problems = [] if letter.reason else ["dlq_reason is empty"]
    if letter.partition < 0 or letter.offset < 0:
        problems.append("dlq_partition or dlq_offset is negative")
    return letter, problems


def _read(record: PublicRecord, model: type[Model]) -> tuple[Model | None, dict[str, Any] | None, list[str]]:
    try:
        value = parse_ijson(record.value or b"", whole_doubles=True)
        if not isinstance(value, dict):
            return None, None, ["the value is no object"]
        read = model.model_validate(value, strict=True)
    except UndecodableJsonError as error:
        return None, None, [f"the value is no I-JSON: {error}"]
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False, include_context=False)
        return None, None, [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in wrong]
    return read, value, [f"the field {name} is missing" for name in model.model_fields if name not in value]


def _headers(record: PublicRecord, job_id: str, trace_id: str, *, event_id: str, event_type: str) -> list[str]:
    expected: Mapping[str, str] = {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_type": event_type,
        "ce_subject": job_id,
        "content-type": "application/json",
    }
    problems = [
        f"the header {name} is {record.header(name)!r} instead of {wanted!r}"
        for name, wanted in expected.items()
        if record.header(name) != wanted
    ]
    if not record.header("ce_source"):
        problems.append("the header ce_source is missing")
    problems += _times(ce_time=record.header("ce_time") or "")
    if record.key != job_id.encode():
        problems.append(f"the key is {record.key!r} instead of the job id")
    context = _TRACEPARENT.fullmatch(record.header("traceparent") or "")
    if context is None:
        problems.append(f"the header traceparent is {record.header('traceparent')!r}")
    elif context["trace_id"] != trace_id:
        problems.append(f"the header traceparent is of another trace than trace_id {trace_id}")
    return problems


def _times(**texts: str) -> list[str]:
    return [f"{name} {text!r} is no UTC time with milliseconds" for name, text in texts.items() if not _is_time(text)]


def _is_time(text: str) -> bool:
    if _TIME.fullmatch(text) is None:
        return False
    try:
        parse_time(text)
    except ValueError:
        return False
    return True


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
