"""Copies what an item host prints into the worker's log, line by line, within limits."""

from __future__ import annotations

import asyncio
import logging
from contextvars import copy_context

_LINE_BYTES = 1000
_LINES_A_SLICE = 200
_READ_BYTES = 8192

_log = logging.getLogger(__name__)


class HostLog:
    """Reads one host's standard error to its end; what exceeds the limits is counted, not logged.

    Attributes:
        pid: of the host, put before each line.
    """

    def __init__(self, stream: asyncio.StreamReader, pid: int) -> None:
        self._stream = stream
        self.pid = pid
        self._rest = b""
        self._lines = 0
        self._dropped = 0
        self._context = copy_context()

    def next_slice(self) -> None:
        """Another slice begins: reset the limits, and log its lines under its job and span.

        Call this in the slice's context: a host may serve several jobs.
        """
        self._tell_dropped()
        self._context = copy_context()

    async def drain(self) -> None:
        """Log until the stream ends."""
        while piece := await self._stream.read(_READ_BYTES):
            *lines, self._rest = (self._rest + piece).split(b"\n")
            for line in lines:
                self._write(line)
            self._rest = self._rest[:_LINE_BYTES]  # cut a line that does not end
        if self._rest:
            self._write(self._rest)
        self._tell_dropped()

    def _tell_dropped(self) -> None:
        if self._dropped:
            text = "item host %d: %d more lines were not logged"
            self._context.run(_log.warning, text, self.pid, self._dropped)
        self._lines = self._dropped = 0

    def _write(self, line: bytes) -> None:
        if self._lines >= _LINES_A_SLICE:
            self._dropped += 1
            return
        self._lines += 1
        text = line[:_LINE_BYTES].decode("utf-8", "replace")
        self._context.run(_log.info, "item host %d: %s", self.pid, text)
