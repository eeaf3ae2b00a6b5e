"""Sends one answer: waits that end if the caller leaves or the endpoint stops, and answers that break off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Self

import orjson
from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Scope, Send

from services.claude_exec.loopback.message import Message
from services.claude_exec.loopback.steps import Break
from shared.errors import MeshError

STALL_SECONDS = 3_600.0
"""A stalled answer is cut after this time."""
SEND_SECONDS = 60.0
"""A caller that takes no byte for so long counts as gone."""

_STREAM = "text/event-stream; charset=utf-8"
_JSON = "application/json"
_NO_JSON = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"te\n\n'


class EndedError(MeshError):
    """The exchange ends: the caller left, the endpoint stops, or the answer broke off. `outcome` is for the journal."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Exchange:
    """The answer to one request whose body has been read. An asynchronous context."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, stopping: asyncio.Event, request_id: str) -> None:
        self._transport: asyncio.Transport = scope["state"]["transport"]
        self._receive, self._send, self._stopping, self._request_id = receive, send, stopping, request_id
        self._gone: asyncio.Task[Any]
        self._stopped: asyncio.Task[Any]

    async def __aenter__(self) -> Self:
        """Begin to watch for the caller's end."""
        self._gone = asyncio.create_task(self._caller_left())
        self._stopped = asyncio.create_task(self._stopping.wait())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Stop watching."""
        for task in (self._gone, self._stopped):
            task.cancel()
            await asyncio.wait({task})  # `await task` would hide a cancellation of this task

    async def wait(self, seconds: float) -> None:
        """Wait.

        Raises:
            EndedError: the caller left meanwhile, or the endpoint stops.
        """
        waits = (self._gone, self._stopped)
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return
        if self._gone in done:
            raise EndedError("gone")
        await self._cut()
        raise EndedError("stopped")

    async def answer(self, status: int, body: Any, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Answer with a complete JSON body."""
        content = orjson.dumps(body)
        await self._start(status, [("content-type", _JSON), ("content-length", str(len(content))), *headers])
        await self._body(content, more=False)

    async def say(self, message: Message, *, streamed: bool, broken: Break | None) -> None:
        """Answer with a message; with only its first half if `broken` is set.

        Raises:
            EndedError: the caller left, or `broken` is set.
        """
        if streamed:
            await self._stream(message, broken)
        elif broken is None:
            await self.answer(200, message.whole())
        else:
            await self._half(orjson.dumps(message.whole()), broken)

    async def _stream(self, message: Message, broken: Break | None) -> None:
        await self._start(200, [("content-type", _STREAM), ("cache-control", "no-cache")])
        if broken is None:
            for event in message.events():
                await self._body(event, more=True)
            await self._body(b"", more=False)
            return
        for event in _first_half(message):
            await self._body(event, more=True)
        if broken == "malformed":
            await self._body(_NO_JSON, more=True)
            await self._body(b"", more=False)
            raise EndedError("malformed")
        await self._break(broken)

    async def _half(self, content: bytes, broken: Break) -> None:
        half = content[: len(content) // 2]
        length = len(half) if broken == "malformed" else len(content)
        await self._start(200, [("content-type", _JSON), ("content-length", str(length))])
        await self._body(half, more=broken != "malformed")
        if broken == "malformed":
            raise EndedError("malformed")
        await self._break(broken)

    async def _break(self, broken: Break) -> None:
        if broken == "stall":
            await self.wait(STALL_SECONDS)
        await self._cut()
        raise EndedError("stalled" if broken == "stall" else "dropped")

    async def _start(self, status: int, headers: list[tuple[str, str]]) -> None:
        named = [*headers, ("request-id", self._request_id)]
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _body(self, content: bytes, *, more: bool) -> None:
        if self._gone.done():
            raise EndedError("gone")
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send({"type": "http.response.body", "body": content, "more_body": more})
        except TimeoutError as error:
            await self._cut()
            raise EndedError("gone") from error

    async def _cut(self) -> None:
        """Cut the connection, and wait until the server has noticed; else it reports an incomplete answer."""
        self._transport.abort()
        async with asyncio.timeout(SEND_SECONDS):
            await self._gone

    async def _caller_left(self) -> None:
        message: AsgiMessage = {"type": ""}
        while message["type"] != "http.disconnect":
            message = await self._receive()


def _first_half(message: Message) -> Iterator[bytes]:
    count = sum(1 for _ in message.events())
    return islice(message.events(), count // 2)
