"""Proxies of the environment: they are not asked for this machine, and one that cannot be used is said."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from eldermesh_cli.follow.trace_source import TraceUnavailableError, fetch_trace
from eldermesh_cli.operate.checks.servers import telemetry_received
from eldermesh_cli.program.target_mesh import Mesh
from eldermesh_cli.stack.telemetry.forwarder import Forwarder, OtlpBody
from shared.http_client import NoHttpClientError, http_client, is_loopback
from shared.settings import Settings
from tests.waiting import wait_until

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
ELSEWHERE = "http://collector.example:4318"
BODY = OtlpBody("traces", b"spans", "application/x-protobuf", "")
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(
    params=[
        {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
        {"all_proxy": "socks5://127.0.0.1:9"},
        {"ALL_PROXY": "ftp://127.0.0.1:9", "no_proxy": "example.org"},
        {"http_proxy": "http://[::bad", "SSL_CERT_FILE": "/no/such/file"},
    ],
    ids=["http", "socks", "unknown", "broken"],
)
def proxies(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which nothing that goes by a proxy arrives."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of a kind that this install has no code for."""
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """A collector, and a store of traces, on this machine."""
    with HTTPServer() as server:
        server.expect_request(f"/api/traces/{TRACE_ID}").respond_with_json({"data": []})
        server.expect_request("/v1/traces", method="POST").respond_with_data(b"")
        yield server


@pytest.mark.usefixtures("proxies")
async def test_this_machine_is_asked_directly(server: HTTPServer, tmp_path: Path) -> None:
    """By `mesh trace`, by `mesh doctor`, and by the receiver that passes spans on."""
    url = server.url_for("").rstrip("/")
    assert await fetch_trace(url, TRACE_ID) == []
    found = await telemetry_received(Mesh(Settings(otlp_endpoint=url, data_dir=tmp_path), "defaults"))
    assert (found.detail, found.hint) == (f"{url}/v1/traces takes spans", None)
    forwarder = Forwarder(url)
    running = asyncio.create_task(forwarder.run())
    forwarder.offer(BODY)
    await wait_until(lambda: forwarder.forwarded == 1, description="the spans are passed on")
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.usefixtures("unusable")
async def test_a_client_that_cannot_be_made_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """To who asks for a trace, by the doctor with what to do, and in the receiver's log; its task goes on."""
    with pytest.raises(TraceUnavailableError, match="proxy or certificate settings of the environment"):
        await fetch_trace(ELSEWHERE, TRACE_ID)
    found = await telemetry_received(Mesh(Settings(otlp_endpoint=ELSEWHERE, data_dir=tmp_path), "defaults"))
    assert "cannot be used" in found.detail
    assert "all_proxy" in (found.hint or "")
    forwarder = Forwarder(ELSEWHERE)
    running = asyncio.create_task(forwarder.run())
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            forwarder.offer(BODY)
        await wait_until(lambda: forwarder.dropped == 2, description="both are dropped")
    assert "telemetry is not forwarded" in caplog.text
    assert "cannot be used" in caplog.text
    assert not running.done()
    assert await forwarder.drain(1.0)
    running.cancel()
    await asyncio.wait([running])


async def test_whatever_a_request_raises_costs_its_own_body(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Here headers of the environment that no HTTP header can hold."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=%C3%A9quipe")
    forwarder = Forwarder(server.url_for("").rstrip("/"))
    running = asyncio.create_task(forwarder.run())
    with caplog.at_level(logging.WARNING):
        forwarder.offer(BODY)
        await wait_until(lambda: forwarder.dropped + forwarder.forwarded == 1, description="it was tried")
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "localhost.", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_what_this_machine_is_called(host: str) -> None:
    """Every address of the loopback interface."""
    assert is_loopback(f"http://user:secret@{host}:4318/v1")


@pytest.mark.parametrize(
    "url", [ELSEWHERE, "http://127.0.0.1.example.org", "http://10.0.0.1", "http://[::bad", "", "x"]
)
def test_what_is_not(url: str) -> None:
    """Whatever it looks like; what is no URL is nowhere."""
    assert not is_loopback(url)


@pytest.mark.usefixtures("unusable")
async def test_the_one_place_of_clients() -> None:
    """One for this machine can be made, one for others cannot, and that has a type of its own."""
    await http_client("http://127.0.0.1:1", timeout_seconds=1.0).aclose()
    with pytest.raises(NoHttpClientError):
        http_client(ELSEWHERE, timeout_seconds=1.0)
