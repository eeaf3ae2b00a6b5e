"""A uvicorn server inside an event loop that runs for other things too."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Generator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

MAX_CONNECTIONS = 256
KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 3
"""For answers that are on their way when the server is told to stop."""


class HttpServer(uvicorn.Server):
    """Leaves the process' signals and logs alone, and says when it listens.

    Args:
        app: answers the requests.
        listening: called once it listens.
        configuration: further settings of uvicorn.
    """

    def __init__(self, app: ASGIApp, listening: Callable[[], None], **configuration: Any) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=STOP_SECONDS,
                **configuration,
            )
        )
        self._say_listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self._say_listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave them to the process."""
        yield
