"""JSON Schemas of the public contract, made from its types, and the registry of public events that they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from eldermesh.contract import cloudevents, topics
from eldermesh.contract.claude_commands import ClaudeCancel, ClaudeRequest
from eldermesh.contract.claude_output import ClaudeEnd, ClaudeOutput
from eldermesh.contract.commands import JobCancel, JobDecide, JobSubmit
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.holds import JobHold
from eldermesh.contract.results import JobProgress
from eldermesh.contract.vocabulary import CONTRACT_VERSION, JOB_ID_PATTERN, TIME_PATTERN, DeadLetterType

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TEXT = {"type": "string"}
_TYPE_MEANING = "Without it a record of `jobs` is a submit, one of `claude.requests` a request."


class AlwaysThere(GenerateJsonSchema):
    """Fields with a default are optional in what is sent to the mesh, and always there in what it writes."""

    def field_is_required(self, field: Any, total: bool) -> bool:  # noqa: FBT001 - pydantic calls it so
        """Whether a field has to be there."""
        return self.mode == "serialization" or super().field_is_required(field, total)


@dataclass(frozen=True, slots=True)
class PublicEvent:
    """One kind of record on a public topic.

    Args:
        name: the schema's name, as `mesh schema` takes it.
        topic: the topic, without the environment's prefix.
        event_types: the values of `ce_type` it comes with.
        model: what its value is.
        sender: who writes it.
        id_of: whose id is the key of what the mesh writes.
    """

    name: str
    topic: str
    event_types: tuple[str, ...]
    model: type[BaseModel]
    sender: Literal["anyone", "mesh"]
    id_of: Literal["job", "request"] = "job"

    @property
    def summary(self) -> str:
        """The first line of the model's documentation."""
        return (self.model.__doc__ or "").strip().splitlines()[0]


PUBLIC_EVENTS: tuple[PublicEvent, ...] = (
    PublicEvent("job-submit", topics.JOBS, (cloudevents.SUBMIT,), JobSubmit, "anyone"),
    PublicEvent("job-cancel", topics.JOBS, (cloudevents.CANCEL,), JobCancel, "anyone"),
    PublicEvent("job-decide", topics.JOBS_DECISIONS, (cloudevents.DECIDE,), JobDecide, "anyone"),
    PublicEvent("job-progress", topics.JOBS_PROGRESS, (cloudevents.PROGRESS,), JobProgress, "mesh"),
    PublicEvent(
        "job-end",
        topics.JOBS_DONE,
        (cloudevents.COMPLETED, cloudevents.FAILED, cloudevents.CANCELLED, cloudevents.REJECTED),
        JobEnd,
        "mesh",
    ),
    PublicEvent(
        "job-hold",
        topics.JOBS_HOLDS,
        (cloudevents.HELD, cloudevents.HOLD_REMINDER, cloudevents.HOLD_ENDED),
        JobHold,
        "mesh",
    ),
    PublicEvent("claude-request", topics.CLAUDE_REQUESTS, (cloudevents.CLAUDE_REQUEST,), ClaudeRequest, "anyone"),
    PublicEvent("claude-cancel", topics.CLAUDE_REQUESTS, (cloudevents.CLAUDE_CANCEL,), ClaudeCancel, "anyone"),
    PublicEvent(
        "claude-output", topics.CLAUDE_OUTPUT, (cloudevents.CLAUDE_OUTPUT,), ClaudeOutput, "mesh", id_of="request"
    ),
    PublicEvent(
        "claude-end",
        topics.CLAUDE_OUTPUT,
        (cloudevents.CLAUDE_COMPLETED, cloudevents.CLAUDE_FAILED, cloudevents.CLAUDE_CANCELLED),
        ClaudeEnd,
        "mesh",
        id_of="request",
    ),
)

CLOUD_EVENT_HEADERS = "cloud-event-headers"
DEAD_LETTER_HEADERS = "dead-letter-headers"

CONTRACT_SCHEMA_NAMES: tuple[str, ...] = (
    *(event.name for event in PUBLIC_EVENTS),
    CLOUD_EVENT_HEADERS,
    DEAD_LETTER_HEADERS,
)
"""All names that `contract_schema` knows."""


def contract_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a public event's value, or of the headers of public records.

    Commands have `additionalProperties: false`; in what the mesh writes every field is required.

    Raises:
        KeyError: there is no schema of this name.
    """
    if name == CLOUD_EVENT_HEADERS:
        return identified(name, cloud_event_headers())
    if name == DEAD_LETTER_HEADERS:
        return identified(name, dead_letter_headers())
    event = next((each for each in PUBLIC_EVENTS if each.name == name), None)
    if event is None:
        raise KeyError(name)
    return identified(
        name, with_one_source(event, event.model.model_json_schema(mode=mode(event), schema_generator=AlwaysThere))
    )


def identified(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its dialect and an id that carries the version of the contract."""
    return {"$schema": DIALECT, "$id": f"urn:eldermesh:schema:{name}:v{CONTRACT_VERSION}", **schema}


def mode(event: PublicEvent) -> Literal["validation", "serialization"]:
    """From whose side the schema is seen."""
    return "validation" if event.sender == "anyone" else "serialization"


def with_one_source(event: PublicEvent, schema: dict[str, Any]) -> dict[str, Any]:
    """What the model of a submit checks in code: exactly one of `items` and `items_url`."""
    if event.model is not JobSubmit:
        return schema
    given = {"items": "array", "items_url": "string"}
    sources = [{"required": [name], "properties": {name: {"type": kind}}} for name, kind in given.items()]
    return {**schema, "oneOf": sources}


def cloud_event_headers() -> dict[str, Any]:
    """CloudEvents 1.0 in Kafka's binary mode, as the mesh writes it; in commands every header is optional."""
    event_types = [event_type for event in PUBLIC_EVENTS for event_type in event.event_types]
    properties: dict[str, Any] = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {**_TEXT, "minLength": 1, "description": "Identity of the event within its source."},
        "ce_type": {"enum": event_types, "description": _TYPE_MEANING},
        "ce_source": {**_TEXT, "minLength": 1},
        "ce_subject": {**_TEXT, "pattern": JOB_ID_PATTERN, "description": "Id of job or request."},
        "ce_time": {**_TEXT, "pattern": TIME_PATTERN, "description": "UTC with milliseconds."},
        "content-type": {"const": "application/json"},
        "traceparent": {**_TEXT, "description": "W3C Trace Context."},
        "tracestate": {**_TEXT, "description": "W3C Trace Context; only if the publisher had one."},
    }
    return {
        "title": "CloudEventHeaders",
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name != "tracestate"],
    }


def dead_letter_headers() -> dict[str, Any]:
    """What `jobs.dead` adds to the original's headers, as text."""
    number = {**_TEXT, "pattern": r"^\d+$"}
    return {
        "title": "DeadLetterHeaders",
        "type": "object",
        "properties": {
            "dlq_key": {**_TEXT, "description": "The original key; absent if there was none."},
            "dlq_topic": {**_TEXT, "description": "The original topic, with the environment's prefix."},
            "dlq_partition": number,
            "dlq_offset": number,
            "dlq_error_type": {"enum": list(get_args(DeadLetterType))},
            "dlq_reason": {**_TEXT, "minLength": 1},
            "dlq_truncated_bytes": {**number, "description": "Length of the original, if only its start is here."},
            "dlq_sha256": {**_TEXT, "pattern": "^[0-9a-f]{64}$", "description": "Of the original, if truncated."},
        },
        "required": ["dlq_topic", "dlq_partition", "dlq_offset", "dlq_error_type", "dlq_reason"],
    }
