"""The telemetry receiver: what it takes, what it refuses, what it passes on."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from eldermesh_cli.follow.trace_source import fetch_trace
from eldermesh_cli.stack.errors import StackError
from eldermesh_cli.stack.servers.free_ports import free_port
from eldermesh_cli.stack.telemetry.application import MAX_BODY_BYTES
from eldermesh_cli.stack.telemetry.receiver import Destinations, otlp_receiver
from eldermesh_cli.stack.telemetry.span_store import SpanStore
from tests.waiting import wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json; charset=utf-8"}


def _protobuf(*span_numbers: int, trace_id: bytes = bytes.fromhex(TRACE)) -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    name = group.resource.attributes.add()
    name.key, name.value.string_value = "service.name", "foreign"
    spans = group.scope_spans.add().spans
    for number in span_numbers:
        span = spans.add()
        span.trace_id, span.span_id, span.name = trace_id, number.to_bytes(8), "work"
        span.start_time_unix_nano, span.end_time_unix_nano = 2_000_000_000, 1_000_000_000
    return bytes(request.SerializeToString())


def _a_metric() -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add()
    metric.name, metric.sum.is_monotonic = "passed.on", True
    metric.sum.data_points.add().as_int = 1
    return bytes(request.SerializeToString())


def _json() -> dict[str, Any]:
    attribute = {"key": "deep", "value": {"kvlistValue": {"values": [{"key": "n", "value": {"intValue": "7"}}]}}}
    span = {
        "traceId": TRACE.upper(),
        "spanId": "b7ad6b7169203331",
        "parentSpanId": "00f067aa0ba902b7",
        "name": "claude_code.llm_request",
        "kind": 3,
        "startTimeUnixNano": "1000000000",
        "endTimeUnixNano": 2500000000,
        "attributes": [attribute],
        "events": [{"timeUnixNano": "1000000001", "name": "first token"}],
        "links": [{"traceId": "1" * 32, "spanId": "2" * 16}],
        "status": {"code": 2, "message": "overloaded"},
        "unknownField": True,
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "claude-code"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks to a receiver."""
    async with otlp_receiver(tmp_path / "spans.sqlite") as url, httpx.AsyncClient(base_url=url) as client:
        yield client


@pytest.mark.parametrize(("encoding", "pack"), [("", bytes), ("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_protobuf_is_taken_in_every_encoding(
    client: httpx.AsyncClient, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    """Spans are there when the answer comes; an end before the start counts as the start."""
    body = pack(_protobuf(1, 2))
    headers = {**PROTOBUF, **({"content-encoding": encoding} if encoding else {})}
    answer = await client.post("/v1/traces", content=body, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-protobuf"
    assert not ExportTraceServiceResponse.FromString(answer.content).HasField("partial_success")
    spans = await fetch_trace(str(client.base_url), TRACE)
    assert [(span.name, span.service_name, span.duration_us) for span in spans] == [("work", "foreign", 0)] * 2


async def test_json_as_the_claude_cli_sends_it(client: httpx.AsyncClient) -> None:
    """Ids are hexadecimal there, integers text or numbers; unknown fields are no error. Jaeger's form has all of it."""
    answer = await client.post("/v1/traces", content=json.dumps(_json()), headers=JSON)
    assert (answer.status_code, answer.json()) == (200, {})
    (span,) = await fetch_trace(str(client.base_url), TRACE)
    assert span.parent_span_id == "00f067aa0ba902b7"
    assert (span.service_name, span.status, span.duration_seconds) == ("claude-code", "error", 1.5)
    assert span.start_at == "1970-01-01T00:00:01.000Z"
    assert json.loads(span.attributes["deep"]) == {"n": 7}
    document = (await client.get(f"/api/traces/{TRACE}")).json()
    (shown,) = document["data"][0]["spans"]
    assert {"refType": "FOLLOWS_FROM", "traceID": "1" * 32, "spanID": "2" * 16} in shown["references"]
    assert shown["logs"][0]["fields"] == [{"key": "event", "type": "string", "value": "first token"}]
    assert {"key": "span.kind", "type": "string", "value": "client"} in shown["tags"]


async def test_spans_without_ids_are_refused_and_the_others_kept(client: httpx.AsyncClient) -> None:
    """The answer says how many; the sender must not repeat them."""
    body = _protobuf(0, 1) + _protobuf(2, trace_id=b"short")
    answer = await client.post("/v1/traces", content=body, headers=PROTOBUF)
    assert answer.status_code == 200
    assert ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans == 2
    assert len(await fetch_trace(str(client.base_url), TRACE)) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"{", JSON, 400),
        (b"[]", JSON, 400),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}', JSON, 400),
        (b'{"resourceSpans": 7}', JSON, 400),
        (b'{"resourceSpans":' + b"[" * 100_000, JSON, 400),
        (b"", {"content-type": "text/plain"}, 400),
        (b"not gzip", {**PROTOBUF, "content-encoding": "gzip"}, 400),
        (gzip.compress(b"x" * 1000)[:-20], {**PROTOBUF, "content-encoding": "gzip"}, 400),
        (b"", {**PROTOBUF, "content-encoding": "br"}, 400),
        (b"x" * (MAX_BODY_BYTES + 1), PROTOBUF, 413),
        (gzip.compress(b"\0" * (MAX_BODY_BYTES + 1)), {**PROTOBUF, "content-encoding": "gzip"}, 413),
    ],
    ids=[
        *("no-protobuf", "half-an-object", "a-list", "no-trace-id", "a-number-for-spans", "depth-100000", "text"),
        *("no-gzip", "gzip-cut-off", "brotli", "too-large", "gzip-bomb"),
    ],
)
async def test_what_is_no_request_is_refused(
    client: httpx.AsyncClient, body: bytes, headers: dict[str, str], status: int
) -> None:
    """With a status after which OTLP's senders do not try again; the receiver goes on, also after a bomb."""
    assert (await client.post("/v1/traces", content=body, headers=headers)).status_code == status
    if b"resourceSpans" not in body:
        assert (await client.post("/v1/metrics", content=body, headers=headers)).status_code == status
    assert (await client.get("/healthz")).json() == {"ok": True, "spans": 0}


async def test_only_this_machine_under_its_own_name(client: httpx.AsyncClient) -> None:
    """A name that a web page has made to mean this machine is refused; so are other methods and odd trace ids."""
    assert (await client.get("/healthz", headers={"host": "evil.example"})).status_code == 400
    assert (await client.get("/v1/traces")).status_code == 405
    assert (await client.get("/api/traces/nonsense")).status_code == 400
    answer = await client.get(f"/api/traces/{TRACE}")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"] == 404


async def test_bodies_are_passed_on_as_they_came(tmp_path: Path) -> None:
    """A second receiver gets the same spans, compressed and not, and the logs."""
    async with (
        otlp_receiver(tmp_path / "far.sqlite") as far,
        otlp_receiver(tmp_path / "near.sqlite", forward=Destinations(far)) as near,
        httpx.AsyncClient(base_url=near) as client,
    ):
        await client.post("/v1/traces", content=_protobuf(1), headers=PROTOBUF)
        packed = gzip.compress(json.dumps(_json()).encode())
        await client.post("/v1/traces", content=packed, headers={**JSON, "content-encoding": "gzip"})
        assert (await client.post("/v1/logs", content=b"", headers=PROTOBUF)).status_code == 200

        async def forwarded() -> bool:
            return bool((await client.get("/healthz")).json()["forwarded"] == 3)

        await wait_until(forwarded, description="three bodies are forwarded")
        assert len(await fetch_trace(far, TRACE)) == 2


async def test_metrics_are_passed_on_to_an_address_of_their_own(tmp_path: Path) -> None:
    """Spans go to one receiver, metrics to the other; neither gets what the other has."""
    async with (
        otlp_receiver(tmp_path / "spans.sqlite") as spans_url,
        otlp_receiver(tmp_path / "metrics.sqlite") as metrics_url,
        otlp_receiver(tmp_path / "near.sqlite", forward=Destinations(spans_url, metrics_url)) as near,
        httpx.AsyncClient() as client,
    ):
        await client.post(f"{near}/v1/traces", content=_protobuf(1), headers=PROTOBUF)
        await client.post(f"{near}/v1/metrics", content=_a_metric(), headers=PROTOBUF)

        async def both_arrived() -> bool:
            shown = (await client.get(f"{metrics_url}/metrics")).text
            return "passed_on_total" in shown and bool(await fetch_trace(spans_url, TRACE))

        await wait_until(both_arrived, description="spans and metrics are at their places")
        assert "passed_on_total" not in (await client.get(f"{spans_url}/metrics")).text
        assert await fetch_trace(metrics_url, TRACE) == []


async def test_a_collector_that_cannot_be_reached_is_no_trouble(tmp_path: Path) -> None:
    """Bodies are taken at once, dropped and counted; stopping does not wait."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    async with (
        asyncio.timeout(60),
        otlp_receiver(tmp_path / "s.sqlite", forward=Destinations(nowhere)) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        for number in range(1, 21):
            assert (await client.post("/v1/traces", content=_protobuf(number), headers=PROTOBUF)).is_success

        async def dropped() -> bool:
            return bool((await client.get("/healthz")).json()["dropped"] == 20)

        await wait_until(dropped, description="all bodies are dropped")
        assert len(await fetch_trace(url, TRACE)) == 20


async def test_it_does_not_forward_to_itself(tmp_path: Path) -> None:
    """A setting that names the receiver's own address is refused; so is a port that is taken."""
    port = free_port()
    with pytest.raises(StackError, match="itself"):
        async with otlp_receiver(tmp_path / "s.sqlite", port=port, forward=Destinations(f"http://localhost:{port}/")):
            pass
    async with otlp_receiver(tmp_path / "s.sqlite", port=port):
        with pytest.raises(StackError, match="cannot listen"):
            async with otlp_receiver(tmp_path / "t.sqlite", port=port):
                pass


async def test_as_a_process(tmp_path: Path) -> None:
    """It answers, keeps what it took, ends with status 0 on SIGTERM, and keeps its spans for the next run."""
    port, database = free_port(), tmp_path / "spans.sqlite"
    command = (
        sys.executable,
        "-m",
        "eldermesh_cli.stack.telemetry.receiver",
        "--port",
        str(port),
        "--db",
        str(database),
    )
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    url = f"http://127.0.0.1:{port}"
    try:

        async def healthy() -> bool:
            async with httpx.AsyncClient() as client:
                try:
                    return (await client.get(f"{url}/healthz")).is_success
                except httpx.TransportError:
                    return False

        await wait_until(healthy, description="the receiver answers")
        async with httpx.AsyncClient() as client:
            await client.post(f"{url}/v1/traces", content=_protobuf(1), headers=PROTOBUF)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert json.loads(errors.splitlines()[0])["event"] == "telemetry receiver listens"
    store = await SpanStore.open(database)
    assert len(await store.spans_of(TRACE)) == 1
    await store.close()


async def test_a_process_that_cannot_listen_says_so(tmp_path: Path) -> None:
    """Exit status 3 and one line that names the reason."""
    async with otlp_receiver(tmp_path / "s.sqlite") as url:
        port = url.rpartition(":")[2]
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "eldermesh_cli.stack.telemetry.receiver",
                "--port",
                port,
                "--db",
                str(tmp_path / "t.sqlite"),
            ),
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
    assert process.returncode == 3
    assert f"cannot listen on 127.0.0.1:{port}" in json.loads(errors)["reason"]
