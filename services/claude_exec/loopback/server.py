"""Serve the endpoint on the loopback interface, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from pathlib import Path

from uvicorn.protocols.http.h11_impl import H11Protocol

from services.claude_exec.loopback.application import loopback_application
from services.claude_exec.loopback.script import Script
from shared.errors import ConfigurationError
from shared.http_server import HttpServer
from shared.logs.setup import get_logger

_log = get_logger(__name__)


def loopback_host(host: str) -> str:
    """The address itself, if it is one of 127.0.0.0/8.

    Raises:
        ConfigurationError: it is another: whoever reaches this endpoint gets answers that no model gave.
    """
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError as error:
        raise ConfigurationError(f"{host!r} is no IPv4 address; the endpoint listens on 127.0.0.1") from error
    if not address.is_loopback:
        raise ConfigurationError(f"{host} is no loopback address; the endpoint listens nowhere else")
    return str(address)


async def serve(
    script: Script, stopping: asyncio.Event, *, host: str, port: int, ready_file: Path | None = None
) -> None:
    """Answer requests until `stopping` is set.

    Args:
        script: answers to prompts without markers.
        stopping: ends the waits of answers, then the server.
        host: one of 127.0.0.0/8.
        port: 0 takes a free one.
        ready_file: gets the base address once the endpoint listens, and is removed when it ends.

    Raises:
        ConfigurationError: the host is no loopback address, or the port is taken.
    """
    host = loopback_host(host)
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {host}:{port}: {error}") from error
        url = f"http://{host}:{listener.getsockname()[1]}"

        def listening() -> None:
            if ready_file is not None:
                unfinished = ready_file.with_name(f"{ready_file.name}.new")
                unfinished.write_text(f"{url}\n", encoding="ascii")
                unfinished.rename(ready_file)
                opened.callback(ready_file.unlink, missing_ok=True)
            _log.info("loopback endpoint listens", url=url)

        server = _Server(loopback_application(script, stopping, host=host), listening, http=_Protocol)
        ending = asyncio.create_task(server.exit_after(stopping))
        try:
            await server.serve(sockets=[listener])
        finally:
            ending.cancel()
            await asyncio.wait([ending])
        _log.info("loopback endpoint has stopped", url=url)


class _Protocol(H11Protocol):
    """Hands its transport to the application, which has to be able to cut a connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(HttpServer):
    """Ends when it is told to."""

    async def exit_after(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self.should_exit = True
