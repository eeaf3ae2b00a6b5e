"""Serve an ASGI application on the loopback interface from within an event loop that runs for other things too."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from types import TracebackType
from typing import Self

from starlette.types import ASGIApp

from eldermesh_cli.stack.errors import StackError
from eldermesh_cli.stack.servers.free_ports import LOOPBACK
from shared.http_server import HttpServer

START_SECONDS = 10.0


class LoopbackServer:
    """A server at `url` while its asynchronous context is open; `port` 0 takes a free one."""

    def __init__(self, app: ASGIApp, *, port: int = 0) -> None:
        self._app = app
        self._port = port
        self._closing = contextlib.AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            StackError: the port is taken, or the server does not start.
        """
        async with contextlib.AsyncExitStack() as opened:
            listener = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((LOOPBACK, self._port))
            except OSError as error:
                raise StackError(f"cannot listen on {LOOPBACK}:{self._port}: {error}") from error
            self.url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
            server = _Server(self._app)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            opened.push_async_callback(server.stop, serving)
            await server.started_within(START_SECONDS, serving)
            self._closing = opened.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Stop listening; requests that run get a few seconds."""
        await self._closing.aclose()


class _Server(HttpServer):
    """Says within a time that it listens."""

    def __init__(self, app: ASGIApp) -> None:
        self._listening = asyncio.Event()
        super().__init__(app, self._listening.set)

    async def started_within(self, seconds: float, serving: asyncio.Task[None]) -> None:
        listening = asyncio.create_task(self._listening.wait())
        try:
            await asyncio.wait({serving, listening}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            if not listening.done():
                raise StackError(f"the server did not start within {seconds:g} s")
        finally:
            listening.cancel()

    async def stop(self, serving: asyncio.Task[None]) -> None:
        self.should_exit = True
        await serving
