"""OTLP/HTTP bodies (protobuf or JSON, plain or gzip) to spans and samples of metrics."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from eldermesh_cli.stack.telemetry.span_store import SpanEvent, StoredSpan

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

_GZIP_WINDOW = 31
_TRACE_ID_BYTES = 16
_SPAN_ID_BYTES = 8
_STATUS = {1: "ok", 2: "error"}


class UndecodableBodyError(Exception):
    """The body is not what its headers say: the sender must not send it again."""


class BodyTooLargeError(Exception):
    """The body, or what it unpacks to, is above the limit."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric: Prometheus name without suffix of kind, kind, unit, labels, and suffixed values."""

    name: str
    kind: str
    unit: str
    meaning: str
    service_name: str
    service_instance: str
    labels: dict[str, str]
    values: tuple[tuple[str, tuple[tuple[str, str], ...], float], ...]
    """Suffix of the name, labels besides `labels`, value: a histogram has many."""


def unpacked(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    """The body without its content encoding.

    Raises:
        UndecodableBodyError: the encoding is none of `gzip`, `deflate` and `identity`, or the body does not have it.
        BodyTooLargeError: it unpacks to more than the limit; no more than that was unpacked.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "deflate"}:
        raise UndecodableBodyError(f"content encoding {encoding!r} is not known")
    unpacking = zlib.decompressobj(wbits=_GZIP_WINDOW if encoding == "gzip" else zlib.MAX_WBITS)
    try:
        plain = unpacking.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise UndecodableBodyError(f"not {encoding}: {error}") from error
    if len(plain) > limit_bytes:
        raise BodyTooLargeError(f"it unpacks to more than {limit_bytes} bytes")
    if not unpacking.eof:
        raise UndecodableBodyError(f"the {encoding} data ends early")
    return plain


def decode_spans(body: bytes, content_type: str) -> tuple[list[StoredSpan], int]:
    """The spans of a request, and how many had no valid ids and are left out.

    Raises:
        UndecodableBodyError: it is no such request.
    """
    request = ExportTraceServiceRequest()
    _parse(request, body, content_type, _with_base64_ids)
    spans, invalid = [], 0
    for group in request.resource_spans:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                if _valid(span.trace_id, _TRACE_ID_BYTES) and _valid(span.span_id, _SPAN_ID_BYTES):
                    spans.append(_stored(span, resource))
                else:
                    invalid += 1
    return spans, invalid


def decode_metrics(body: bytes, content_type: str) -> list[Sample]:
    """The samples of a request. Exponential histograms, summaries and deltas are left out.

    Raises:
        UndecodableBodyError: it is no such request.
    """
    request = ExportMetricsServiceRequest()
    _parse(request, body, content_type, lambda document: document)
    return [
        sample
        for group in request.resource_metrics
        for scope in group.scope_metrics
        for metric in scope.metrics
        for sample in _samples(metric, _attributes(group.resource.attributes))
    ]


def _parse(request: Any, body: bytes, content_type: str, prepare: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    try:
        if content_type == PROTOBUF:
            request.ParseFromString(body)
        elif content_type == JSON:
            json_format.ParseDict(prepare(_document(body)), request, ignore_unknown_fields=True)
        else:
            raise UndecodableBodyError(f"content type {content_type!r} is neither {PROTOBUF} nor {JSON}")
    except (
        DecodeError,
        json_format.ParseError,
        orjson.JSONDecodeError,
        TypeError,
        AttributeError,
        ValueError,
    ) as error:
        raise UndecodableBodyError(f"not an OTLP request: {error}") from error


def _document(body: bytes) -> dict[str, Any]:
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise TypeError("not an object")
    return document


def _with_base64_ids(document: dict[str, Any]) -> dict[str, Any]:
    """OTLP/JSON writes ids as hexadecimal digits, where protobuf's own JSON wants base64."""
    for resource_spans in document.get("resourceSpans", ()):
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                for record in (span, *span.get("links", ())):
                    for name in {"traceId", "spanId", "parentSpanId"} & record.keys():
                        record[name] = base64.b64encode(bytes.fromhex(record[name])).decode()
    return document


def _valid(identity: bytes, length: int) -> bool:
    return len(identity) == length and any(identity)


def _stored(span: Any, resource: Mapping[str, Any]) -> StoredSpan:
    return StoredSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex() if any(span.parent_span_id) else None,
        name=span.name,
        kind=span.kind,
        service_name=str(resource.get("service.name", "unknown")),
        service_instance=str(resource.get("service.instance.id", "")),
        start_ns=span.start_time_unix_nano,
        end_ns=max(span.start_time_unix_nano, span.end_time_unix_nano),
        status=_STATUS.get(span.status.code, "unset"),
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        events=tuple(SpanEvent(e.time_unix_nano, e.name, _attributes(e.attributes)) for e in span.events),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    match value.WhichOneof("value"):
        case "array_value":
            return [_value(entry) for entry in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case "bytes_value":
            return value.bytes_value.hex()
        case None:
            return None
        case name:
            return getattr(value, name)


def _samples(metric: Any, resource: Mapping[str, Any]) -> Iterator[Sample]:
    kind = metric.WhichOneof("data")
    if kind not in {"gauge", "sum", "histogram"}:
        return
    data = getattr(metric, kind)
    if kind != "gauge" and data.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA:
        return
    for point in data.data_points:
        yield Sample(
            name=metric.name,
            kind="counter" if kind == "sum" and data.is_monotonic else "histogram" if kind == "histogram" else "gauge",
            unit=metric.unit,
            meaning=metric.description,
            service_name=str(resource.get("service.name", "unknown")),
            service_instance=str(resource.get("service.instance.id", "")),
            labels={key: str(value) for key, value in _attributes(point.attributes).items()},
            values=_buckets(point) if kind == "histogram" else (("", (), _number(point)),),
        )


def _number(point: Any) -> float:
    return float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)


def _buckets(point: Any) -> tuple[tuple[str, tuple[tuple[str, str], ...], float], ...]:
    values: list[tuple[str, tuple[tuple[str, str], ...], float]] = []
    total = 0
    for bound, count in zip([*point.explicit_bounds, float("inf")], point.bucket_counts, strict=False):
        total += count
        values.append(("_bucket", (("le", "+Inf" if bound == float("inf") else f"{bound:g}"),), float(total)))
    return (*values, ("_sum", (), point.sum), ("_count", (), float(point.count)))
