"""What an item host prints, line by line into the worker's log, within bounds."""

from __future__ import annotations

import asyncio
import logging

_LINE_BYTES = 1000
_LINES_AN_ITEM = 200
_READ_BYTES = 8192

_log = logging.getLogger(__name__)


class HostLog:
    """Reads one host's standard error to its end; what is over the bounds is counted, not kept.

    Attributes:
        pid: the host's, as it stands before each line.
    """

    def __init__(self, stream: asyncio.StreamReader, pid: int) -> None:
        self._stream = stream
        self.pid = pid
        self._rest = b""
        self._lines = 0
        self._dropped = 0

    def next_item(self) -> None:
        """Another item begins: it may print as much as the one before."""
        if self._dropped:
            _log.warning("item host %d: %d more lines were not logged", self.pid, self._dropped)
        self._lines = self._dropped = 0

    async def drain(self) -> None:
        """Log until the stream ends."""
        while piece := await self._stream.read(_READ_BYTES):
            *lines, self._rest = (self._rest + piece).split(b"\n")
            for line in lines:
                self._write(line)
            self._rest = self._rest[:_LINE_BYTES]  # a line without end is cut, not gathered
        if self._rest:
            self._write(self._rest)
        self.next_item()

    def _write(self, line: bytes) -> None:
        if self._lines >= _LINES_AN_ITEM:
            self._dropped += 1
            return
        self._lines += 1
        _log.info("item host %d: %s", self.pid, line[:_LINE_BYTES].decode("utf-8", "replace"))
