"""The endpoint's HTTP routes, and its server on the loopback interface."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.claude_exec.loopback.api_error import AnswerError
from services.claude_exec.loopback.journal import Journal
from services.claude_exec.loopback.messages_endpoint import MessagesEndpoint, request_id
from services.claude_exec.loopback.plan import Countdown
from services.claude_exec.loopback.script import Script
from shared.errors import ConfigurationError
from shared.http_server import HttpServer
from shared.logs.setup import get_logger

_ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - only with `inside`

_log = get_logger(__name__)


def loopback_host(host: str) -> str:
    """The address, if it is in 127.0.0.0/8.

    Raises:
        ConfigurationError: it is not. Other machines must not take these answers for a model's.
    """
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError as error:
        raise ConfigurationError(f"{host!r} is no IPv4 address; the endpoint listens on 127.0.0.1") from error
    if not address.is_loopback:
        raise ConfigurationError(f"{host} is no loopback address; the endpoint listens nowhere else")
    return str(address)


async def serve(
    script: Script,
    stopping: asyncio.Event,
    *,
    host: str,
    port: int,
    inside: str | None = None,
    ready_file: Path | None = None,
) -> None:
    """Answer requests until `stopping` is set.

    Args:
        script: answers to prompts without markers.
        stopping: when set, waits end, then the server.
        host: an address in 127.0.0.0/8.
        port: 0 takes a free one.
        inside: listen on all addresses instead, and answer only those who call this endpoint by this name: for
            containers on a network that nobody else reaches.
        ready_file: gets the base address once the endpoint listens, and is removed when it ends.

    Raises:
        ConfigurationError: the host is no loopback address, or the port is taken.
    """
    host = loopback_host(host)
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address = host if inside is None else _ALL_ADDRESSES
        try:
            listener.bind((address, port))
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {address}:{port}: {error}") from error
        name = inside or host
        url = f"http://{name}:{listener.getsockname()[1]}"

        def listening() -> None:
            if ready_file is not None:
                unfinished = ready_file.with_name(f"{ready_file.name}.new")
                unfinished.write_text(f"{url}\n", encoding="ascii")
                unfinished.rename(ready_file)
                opened.callback(ready_file.unlink, missing_ok=True)
            _log.info("loopback endpoint listens", url=url)

        server = _Server(loopback_application(script, stopping, host=name), listening, http=_Protocol)
        ending = asyncio.create_task(server.exit_after(stopping))
        try:
            await server.serve(sockets=[listener])
        finally:
            ending.cancel()
            await asyncio.wait([ending])
        _log.info("loopback endpoint has stopped", url=url)


def loopback_application(script: Script, stopping: asyncio.Event, *, host: str) -> Starlette:
    """The HTTP application, which its callers know as `host`; its waits end when `stopping` is set."""
    journal, countdown = Journal(), Countdown()
    messages = MessagesEndpoint(script, journal, countdown, stopping)

    async def health(_: Request) -> Response:
        return JSONResponse({"ok": True, "requests": journal.total})

    async def show_requests(_: Request) -> Response:
        return JSONResponse(journal.shown())

    async def forget_requests(_: Request) -> Response:
        journal.clear()
        countdown.clear()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def greet(_: Request) -> Response:
        return JSONResponse({"service": "loopback stand-in for the Anthropic Messages API"})

    async def unknown(request: Request) -> Response:
        entry = journal.begin(request.method, request.url.path)
        error = AnswerError(HTTPStatus.NOT_FOUND, "Not found")
        entry.ended, entry.status, entry.outcome = entry.began, error.status, "refused"
        return JSONResponse(error.body(request_id(entry)), error.status)

    return Starlette(
        routes=[
            Route("/v1/messages", messages, methods=["POST"]),
            Route("/v1/messages/count_tokens", messages, methods=["POST"]),
            Route("/healthz", health, methods=["GET"]),
            Route("/_loopback/requests", show_requests, methods=["GET"]),
            Route("/_loopback/requests", forget_requests, methods=["DELETE"]),
            Route("/", greet, methods=["GET"]),
            Route("/{path:path}", unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ],
        # Against DNS rebinding: a web page must not reach this endpoint under its own host name.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[host, "localhost"])],
    )


class _Protocol(H11Protocol):
    """Gives the application its transport, so that it can cut the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(HttpServer):
    """A server that an event stops."""

    async def exit_after(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self.should_exit = True
