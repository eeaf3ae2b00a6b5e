"""What the telemetry receiver answers over HTTP."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from eldermesh_cli.stack.servers.free_ports import LOOPBACK
from eldermesh_cli.stack.telemetry.forwarder import Forwarder, OtlpBody
from eldermesh_cli.stack.telemetry.jaeger_json import trace_found, trace_not_found
from eldermesh_cli.stack.telemetry.metric_table import MetricTable
from eldermesh_cli.stack.telemetry.otlp_body import (
    JSON,
    PROTOBUF,
    BodyTooLargeError,
    UndecodableBodyError,
    decode_metrics,
    decode_spans,
    unpacked,
)
from eldermesh_cli.stack.telemetry.span_store import SpanStore

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Of a request's body, and again of what it unpacks to."""
BODY_SECONDS = 10.0

_TRACE_ID = re.compile(r"[0-9a-f]{1,32}")
_RETRY_SECONDS = "5"
_LOG = logging.getLogger(__name__)


def otlp_application(store: SpanStore, metrics: MetricTable, forwarders: Mapping[str, Forwarder]) -> Starlette:
    """The application over a store, a table of metrics and, for signals that are passed on, forwarders that run."""
    return _Application(store, metrics, forwarders).starlette()


class _Application:
    """The HTTP interface."""

    def __init__(self, store: SpanStore, metrics: MetricTable, forwarders: Mapping[str, Forwarder]) -> None:
        self._store = store
        self._metrics = metrics
        self._forwarders = forwarders

    def starlette(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/traces", self.take_traces, methods=["POST"]),
                Route("/v1/metrics", self.take_metrics, methods=["POST"]),
                Route("/v1/logs", self.take_logs, methods=["POST"]),
                Route("/api/traces/{trace_id}", self.show_trace, methods=["GET"]),
                Route("/metrics", self.show_metrics, methods=["GET"]),
                Route("/healthz", self.show_health, methods=["GET"]),
            ],
            # A page in a browser must not read here under a name of its own that it has made to mean this machine.
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])],
            exception_handlers={
                BodyTooLargeError: _answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
                UndecodableBodyError: _answer(HTTPStatus.BAD_REQUEST),
                TimeoutError: _answer(HTTPStatus.REQUEST_TIMEOUT),
                sqlite3.Error: _answer(HTTPStatus.SERVICE_UNAVAILABLE),
            },
        )

    async def take_traces(self, request: Request) -> Response:
        kind, plain, received = await _receive("traces", request)
        spans, invalid = await asyncio.to_thread(decode_spans, plain, kind)
        await self._store.add(spans)
        self._pass_on(received)
        response = ExportTraceServiceResponse()
        if invalid:
            response.partial_success.rejected_spans = invalid
            response.partial_success.error_message = "spans without valid ids"
        if kind == JSON:
            refused = {"rejectedSpans": str(invalid), "errorMessage": "spans without valid ids"}
            return JSONResponse({"partialSuccess": refused} if invalid else {})
        return Response(response.SerializeToString(), media_type=PROTOBUF)

    async def take_metrics(self, request: Request) -> Response:
        kind, plain, received = await _receive("metrics", request)
        self._metrics.update(await asyncio.to_thread(decode_metrics, plain, kind))
        self._pass_on(received)
        return _taken(kind, ExportMetricsServiceResponse().SerializeToString())

    async def take_logs(self, request: Request) -> Response:
        """Logs are passed on, not kept: the stack has its log files."""
        kind, _, received = await _receive("logs", request)
        self._pass_on(received)
        return _taken(kind, ExportLogsServiceResponse().SerializeToString())

    async def show_trace(self, request: Request) -> Response:
        trace_id = request.path_params["trace_id"].lower()
        if not _TRACE_ID.fullmatch(trace_id):
            return JSONResponse(
                {"data": None, "errors": [{"code": 400, "msg": "not a trace id"}]}, HTTPStatus.BAD_REQUEST
            )
        spans = await self._store.spans_of(trace_id.zfill(32))
        return (
            JSONResponse(trace_found(trace_id.zfill(32), spans))
            if spans
            else JSONResponse(trace_not_found(), HTTPStatus.NOT_FOUND)
        )

    async def show_metrics(self, _: Request) -> Response:
        return PlainTextResponse(self._metrics.prometheus_text(), media_type="text/plain; version=0.0.4")

    async def show_health(self, _: Request) -> Response:
        forwarders = set(self._forwarders.values())
        forwarded = (
            {
                "forwarded": sum(each.forwarded for each in forwarders),
                "dropped": sum(each.dropped for each in forwarders),
            }
            if forwarders
            else {}
        )
        return JSONResponse({"ok": True, "spans": await self._store.count(), **forwarded})

    def _pass_on(self, received: OtlpBody) -> None:
        """Only once it is kept: otherwise the sender tries again, and it would be passed on twice."""
        if (forwarder := self._forwarders.get(received.signal)) is not None:
            forwarder.offer(received)


async def _receive(signal_name: str, request: Request) -> tuple[str, bytes, OtlpBody]:
    """A request's content type, its unpacked body, and all of it as it came."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    content_type = request.headers.get("content-type", "")
    body = await _read(request)
    plain = await asyncio.to_thread(unpacked, body, encoding, MAX_BODY_BYTES)
    kind = content_type.partition(";")[0].strip().lower()
    return kind, plain, OtlpBody(signal_name, body, content_type, encoding)


def _taken(kind: str, protobuf: bytes) -> Response:
    return JSONResponse({}) if kind == JSON else Response(protobuf, media_type=PROTOBUF)


async def _read(request: Request) -> bytes:
    body = bytearray()
    async with asyncio.timeout(BODY_SECONDS):
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise BodyTooLargeError(f"more than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _answer(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Answer an exception with a status; OTLP's senders try again after 503, and never after the others."""

    async def answer(request: Request, error: Exception) -> Response:
        _LOG.warning("%s is answered with %d: %s", request.url.path, status, error)
        headers = {"retry-after": _RETRY_SECONDS} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
        return PlainTextResponse(str(error), status, headers)

    return answer
