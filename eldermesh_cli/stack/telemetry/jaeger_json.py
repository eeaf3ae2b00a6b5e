"""Spans of a trace in the JSON of Jaeger's query API (`GET /api/traces/{id}`), so that one reader does for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from eldermesh_cli.stack.telemetry.span_store import StoredSpan

_KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_NS_PER_US = 1_000


def trace_found(trace_id: str, spans: Sequence[StoredSpan]) -> dict[str, Any]:
    """The answer for a trace of which there are spans. Times are microseconds."""
    processes: dict[str, dict[str, Any]] = {}
    ids: dict[tuple[str, str], str] = {}
    for span in spans:
        service = (span.service_name, span.service_instance)
        if service not in ids:
            ids[service] = f"p{len(ids) + 1}"
            tags = {"service.instance.id": span.service_instance} if span.service_instance else {}
            processes[ids[service]] = {"serviceName": span.service_name, "tags": _tags(tags)}
    shown = [_span(span, ids[(span.service_name, span.service_instance)]) for span in spans]
    trace = {"traceID": trace_id, "spans": shown, "processes": processes, "warnings": None}
    return {"data": [trace], "total": 0, "limit": 0, "offset": 0, "errors": None}


def trace_not_found() -> dict[str, Any]:
    """The answer, with status 404, for a trace of which there is nothing."""
    error = {"code": 404, "msg": "trace not found"}
    return {"data": None, "total": 0, "limit": 0, "offset": 0, "errors": [error]}


def _span(span: StoredSpan, process_id: str) -> dict[str, Any]:
    references = []
    if span.parent_span_id is not None:
        references.append({"refType": "CHILD_OF", "traceID": span.trace_id, "spanID": span.parent_span_id})
    references += [{"refType": "FOLLOWS_FROM", "traceID": t, "spanID": s} for t, s in span.links]
    about: dict[str, Any] = {"span.kind": _KINDS[span.kind]} if span.kind in _KINDS else {}
    if span.status != "unset":
        about["otel.status_code"] = span.status.upper()
    if span.status == "error":
        about["error"] = True
    if span.status_message:
        about["otel.status_description"] = span.status_message
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        "operationName": span.name,
        "references": references,
        "startTime": span.start_ns // _NS_PER_US,
        "duration": (span.end_ns - span.start_ns) // _NS_PER_US,
        "tags": _tags({**span.attributes, **about}),
        "logs": [
            {"timestamp": event.time_ns // _NS_PER_US, "fields": _tags({"event": event.name, **event.attributes})}
            for event in span.events
        ],
        "processID": process_id,
        "warnings": None,
    }


def _tags(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_tag(key, value) for key, value in attributes.items()]


def _tag(key: str, value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"key": key, "type": "bool", "value": value}
        case int():
            return {"key": key, "type": "int64", "value": value}
        case float():
            return {"key": key, "type": "float64", "value": value}
        case str():
            return {"key": key, "type": "string", "value": value}
        case _:
            return {"key": key, "type": "string", "value": orjson.dumps(value).decode()}
