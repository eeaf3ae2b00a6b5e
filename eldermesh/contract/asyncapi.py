"""The AsyncAPI 3.0 document of the public topics, made from the registry of public events."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from eldermesh.contract import topics
from eldermesh.contract.schemas import (
    CLOUD_EVENT_HEADERS,
    DEAD_LETTER_HEADERS,
    PUBLIC_EVENTS,
    AlwaysThere,
    PublicEvent,
    cloud_event_headers,
    dead_letter_headers,
    mode,
    with_one_source,
)
from eldermesh.contract.tenants import inbox_of_tenant
from eldermesh.contract.vocabulary import CONTRACT_VERSION

_REF = "#/components/schemas/{model}"
_JSON = "application/json"
_DEAD_LETTER = "dead-letter"

_TENANT_INBOX = inbox_of_tenant("{tenant}")

_TOPICS = {
    topics.JOBS: "Inbox of commands. Keys and partitions mean nothing; every header is optional.",
    _TENANT_INBOX: "Inbox of one tenant's submits and cancels, for meshes that name the tenant in MESH_TENANTS.",
    topics.JOBS_DECISIONS: "Inbox of decisions on holds, apart so that an ACL can guard it.",
    topics.JOBS_PROGRESS: "Results, keyed by job id: per job in order, without gaps, repeats byte-identical.",
    topics.JOBS_DONE: "Ends, keyed by job id: one for each accepted job, repeats byte-identical.",
    topics.JOBS_HOLDS: "Jobs that wait for a person's decision, keyed by job id: held, reminder, ended.",
    topics.CLAUDE_REQUESTS: "Inbox of single prompts. Keys and partitions mean nothing; every header is optional.",
    topics.CLAUDE_OUTPUT: "What running prompts say, and their ends, keyed by request id; kept for a day.",
    topics.JOBS_DEAD: "What could not be accepted: the original bytes, and why in the headers.",
}


def asyncapi_document() -> dict[str, Any]:
    """The document, with everything in a stable order."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "ElderMesh",
            "version": str(CONTRACT_VERSION),
            "description": (
                "The public topics of a mesh. Their names take the environment's prefix (MESH_TOPIC_PREFIX). "
                "Everything that is not here is private and may change."
            ),
        },
        "defaultContentType": _JSON,
        "channels": {topic: _channel(topic) for topic in _TOPICS},
        "operations": {topic: _operation(topic) for topic in _TOPICS},
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _of(topic: str) -> list[str]:
    like = topics.JOBS if topic == _TENANT_INBOX else topic
    return [event.name for event in PUBLIC_EVENTS if event.topic == like] or [_DEAD_LETTER]


def _channel(topic: str) -> dict[str, Any]:
    channel: dict[str, Any] = {
        "address": topic,
        "description": _TOPICS[topic],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _of(topic)},
    }
    if topic == _TENANT_INBOX:
        channel["parameters"] = {"tenant": {"description": "The tenant of all jobs in this inbox."}}
    return channel


def _operation(topic: str) -> dict[str, Any]:
    """Seen from the mesh: it receives what anyone sends, and sends the rest."""
    received = any(event.name in _of(topic) and event.sender == "anyone" for event in PUBLIC_EVENTS)
    return {
        "action": "receive" if received else "send",
        "channel": {"$ref": f"#/channels/{topic}"},
        "messages": [{"$ref": f"#/channels/{topic}/messages/{name}"} for name in _of(topic)],
    }


def _messages() -> dict[str, Any]:
    messages = {event.name: _message(event) for event in PUBLIC_EVENTS}
    messages[_DEAD_LETTER] = {
        "name": _DEAD_LETTER,
        "summary": "The original bytes, whatever they are.",
        "headers": {"$ref": _REF.format(model=DEAD_LETTER_HEADERS)},
        "payload": {"description": "The original value, if it was JSON at all."},
        "bindings": {"kafka": {"key": {"type": "string", "description": "The job id if known, else the original."}}},
    }
    return messages


def _message(event: PublicEvent) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": event.name,
        "title": ", ".join(event.event_types),
        "summary": event.summary,
        "contentType": _JSON,
        "payload": {"$ref": _REF.format(model=event.model.__name__)},
    }
    if event.sender == "mesh":
        message["headers"] = {"$ref": _REF.format(model=CLOUD_EVENT_HEADERS)}
        message["bindings"] = {"kafka": {"key": {"type": "string", "description": f"The {event.id_of} id."}}}
    return message


def _schemas() -> dict[str, Any]:
    _, generated = models_json_schema(
        [(event.model, mode(event)) for event in PUBLIC_EVENTS], ref_template=_REF, schema_generator=AlwaysThere
    )
    schemas: dict[str, Any] = dict(generated["$defs"])
    for event in PUBLIC_EVENTS:
        schemas[event.model.__name__] = with_one_source(event, schemas[event.model.__name__])
    schemas[CLOUD_EVENT_HEADERS] = cloud_event_headers()
    schemas[DEAD_LETTER_HEADERS] = dead_letter_headers()
    return schemas
