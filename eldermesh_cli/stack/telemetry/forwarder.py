"""Pass on what was received to another collector, as it came: best effort, behind a bounded queue."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import httpx
from opentelemetry.util.re import parse_env_headers

from shared.http_client import NoHttpClientError, http_client

MAX_QUEUED_BODIES = 1_000
MAX_QUEUED_BYTES = 32 * 1024 * 1024
SEND_SECONDS = 5.0

_LOG = logging.getLogger(__name__)
_SAY_EVERY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class OtlpBody:
    """A request body with the headers that say what it is. `signal` is `traces`, `metrics` or `logs`."""

    signal: str
    body: bytes
    content_type: str
    content_encoding: str


class Forwarder:
    """Sends bodies to `{url}/v1/{signal}`, in order, each once. `OTEL_EXPORTER_OTLP_HEADERS` are sent with them.

    What finds the queue full, or is not taken within seconds, is dropped and counted.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._headers = parse_env_headers(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True)
        self._queue: asyncio.Queue[OtlpBody] = asyncio.Queue(MAX_QUEUED_BODIES)
        self._queued_bytes = 0
        self._said_at = float("-inf")
        self.forwarded = 0
        self.dropped = 0

    def offer(self, body: OtlpBody) -> None:
        """Queue a body, or drop it; never waits."""
        if self._queue.full() or self._queued_bytes + len(body.body) > MAX_QUEUED_BYTES:
            self._drop("the queue is full")
            return
        self._queued_bytes += len(body.body)
        self._queue.put_nowait(body)

    async def run(self) -> None:
        """Send until cancelled. Nothing else ends it: what cannot be sent costs its own body, and is said."""
        send: Callable[[OtlpBody], Awaitable[None]]
        async with AsyncExitStack() as opened:
            try:
                client = await opened.enter_async_context(http_client(self._url, timeout_seconds=SEND_SECONDS))
                send = partial(self._send, client)
            except NoHttpClientError as error:
                send = partial(self._refuse, str(error))
            while True:
                body = await self._queue.get()
                try:
                    await send(body)
                except Exception as error:  # noqa: BLE001 - whatever a body or a header makes the client raise
                    self._drop(repr(error))
                finally:
                    self._queued_bytes -= len(body.body)
                    self._queue.task_done()

    async def drain(self, timeout_seconds: float) -> bool:
        """Wait until the queue is empty; say whether it got so in time. For use while `run` runs."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._queue.join()
        except TimeoutError:
            return False
        return True

    async def _send(self, client: httpx.AsyncClient, body: OtlpBody) -> None:
        headers = {**self._headers, "content-type": body.content_type}
        if body.content_encoding:
            headers["content-encoding"] = body.content_encoding
        async with asyncio.timeout(SEND_SECONDS):
            answer = await client.post(f"{self._url}/v1/{body.signal}", content=body.body, headers=headers)
        if answer.is_success:
            self.forwarded += 1
        else:
            self._drop(f"it answered {answer.status_code}")

    async def _refuse(self, why: str, _: OtlpBody) -> None:
        self._drop(why)

    def _drop(self, why: str) -> None:
        self.dropped += 1
        now = time.monotonic()
        if now - self._said_at >= _SAY_EVERY_SECONDS:
            self._said_at = now
            _LOG.warning(
                "telemetry is not forwarded to %s: %s (%d bodies dropped so far)", self._url, why, self.dropped
            )
