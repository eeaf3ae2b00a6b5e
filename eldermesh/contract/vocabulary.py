"""The closed sets of words and the bounded types that public records use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, StringConstraints

from eldermesh.contract.times import parse_time

CONTRACT_VERSION = 1

Priority = Literal["interactive", "normal", "batch"]
EngineChoice = Literal["auto", "celery", "ray"]
Engine = Literal["celery", "ray"]
AdviceLevel = Literal["none", "rules", "full"]
ItemStatus = Literal["succeeded", "failed"]
EndStatus = Literal["completed", "failed", "cancelled", "rejected"]
Decision = Literal["approve", "reject"]
ErrorType = Literal[
    "exception",
    "crashed",
    "timeout",
    "idle",
    "expired",
    "cancelled",
    "rejected",
    "denied",
    "too_many_failures",
    "budget",
    "turns",
    "refused",
    "invalid_output",
    "auth",
    "overloaded",
    "rate_limited",
    "result_too_large",
    "result_not_json",
    "internal",
]
DeadLetterType = Literal["undecodable", "invalid", "conflict", "too_large", "internal"]

MAX_ITEMS = 100_000
MAX_LABELS = 32
MAX_RECORD_BYTES = 256 * 1024
"""Largest inline submit: value and headers together."""

NAME_PATTERN = r"^[a-z0-9][a-z0-9_.-]{0,62}$"
TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$"
TRACE_ID_PATTERN = r"^[0-9a-f]{32}$"
JOB_ID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def _instant(text: str) -> str:
    parse_time(text)  # the pattern lets months of 99 days through
    return text


UtcTime = Annotated[str, StringConstraints(pattern=TIME_PATTERN), AfterValidator(_instant)]
"""An instant with milliseconds, as `2026-11-23T09:26:39.123Z`."""

TraceId = Annotated[str, StringConstraints(pattern=TRACE_ID_PATTERN)]
JobId = Annotated[str, StringConstraints(pattern=JOB_ID_PATTERN)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
LabelText = Annotated[str, StringConstraints(max_length=256)]
ReasonText = Annotated[str, StringConstraints(max_length=2000)]


def _in_i_json_range(value: float) -> float:
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - the test for NaN
        raise ValueError("must be a finite number")
    return value


FiniteFloat = Annotated[float, AfterValidator(_in_i_json_range)]
