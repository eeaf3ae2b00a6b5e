"""Talk to the supervisor of a data directory: one JSON object a line over a unix socket in that directory.

A request is `{"verb": …}` with what the verb takes; the answer is `{"ok": true, "result": {…}}` or
`{"ok": false, "error_type": …, "message": …}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from eldermesh_cli.stack.errors import NotRunningError, RequestRefusedError

SOCKET_NAME = "control.sock"

Handler = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Takes a request, returns the result."""

_LINE_BYTES = 256 * 1024
_CONNECTIONS = 16
_REQUEST_SECONDS = 10.0
_DRAIN_SECONDS = 2.0


@contextlib.contextmanager
def _short_path(data_dir: Path) -> Iterator[str]:
    """Name the socket through an open directory: a unix address takes 107 bytes, and a data directory may be deep."""
    directory = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET_NAME}"
    finally:
        os.close(directory)


@contextlib.asynccontextmanager
async def control_server(data_dir: Path, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
    """Answer requests while the context is entered; then let answers under way go out, and remove the socket.

    Enter it only while holding the data directory: a socket that lies there is taken for a stale one.
    """
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - the stream server runs this as a task
        connections.add(task)
        try:
            await _answer(reader, writer, handlers if len(connections) <= _CONNECTIONS else {})
        finally:
            connections.discard(task)
            writer.close()

    (data_dir / SOCKET_NAME).unlink(missing_ok=True)
    with _short_path(data_dir) as path:
        server = await asyncio.start_unix_server(connected, path=path, limit=_LINE_BYTES)
        try:
            (data_dir / SOCKET_NAME).chmod(0o600)
            yield
        finally:
            server.close()
            if connections:
                await asyncio.wait(connections, timeout=_DRAIN_SECONDS)
            for task in connections:
                task.cancel()
            (data_dir / SOCKET_NAME).unlink(missing_ok=True)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handlers: Mapping[str, Handler]) -> None:
    """Take one request and answer it."""
    try:
        async with asyncio.timeout(_REQUEST_SECONDS):
            request = json.loads(await reader.readline())
        handler = handlers[request["verb"]]
    except (TimeoutError, ValueError, KeyError, TypeError) as error:
        answer: dict[str, Any] = {"ok": False, "error_type": "refused", "message": f"no such request: {error!r}"}
    else:
        try:
            answer = {"ok": True, "result": dict(await handler(request))}
        except Exception as error:  # noqa: BLE001 - the one who asked is told; the supervisor goes on
            answer = {"ok": False, "error_type": type(error).__name__, "message": str(error)}
    with contextlib.suppress(ConnectionError):  # who asked did not wait for the answer
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()


async def request(data_dir: Path, verb: str, *, timeout_seconds: float = 10.0, **arguments: Any) -> dict[str, Any]:
    """Ask the supervisor of a data directory, and return the result.

    Raises:
        NotRunningError: no supervisor is there, or it went away before it answered.
        RequestRefusedError: it does not know the verb, or the verb failed.
        TimeoutError: no answer within the limit.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            with _short_path(data_dir) as path:
                reader, writer = await asyncio.open_unix_connection(path, limit=_LINE_BYTES)
            try:
                writer.write(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
                await writer.drain()
                line = await reader.readline()
            finally:
                writer.close()
    except (FileNotFoundError, NotADirectoryError, ConnectionError) as error:
        raise NotRunningError(f"no mesh runs on {data_dir}") from error
    if not line:
        raise NotRunningError(f"the mesh on {data_dir} ended before it answered")
    answer: dict[str, Any] = json.loads(line)
    if not answer["ok"]:
        raise RequestRefusedError(f"{verb}: {answer['message']} ({answer['error_type']})")
    result: dict[str, Any] = answer["result"]
    return result
