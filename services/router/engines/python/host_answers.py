"""What an item host answers, read from its pipe as it comes: many answers at a time."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from services.router.engines.python.item_host import frames

_READ_BYTES = 256 * 1024


class HostAnswer(NamedTuple):
    """One answer; `frames` explains kinds and contents. `began` and `ended` are seconds of `time.monotonic`."""

    kind: int
    position: int
    began: float
    ended: float
    content: bytes


class HostAnswers:
    """The answers of one host."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._unread = bytearray()

    @property
    def have_ended(self) -> bool:
        """Whether no more will come."""
        return self._stream.at_eof()

    async def some(self, until: float | None = None) -> list[HostAnswer]:
        """All answers that have come, at least one; none if no whole one has by `until`, of the loop's clock.

        Raises:
            EOFError: the stream has ended.
            ConnectionError: what has come is no answer of a host: something else wrote it.
        """
        while not (answers := self._whole()):
            try:
                async with asyncio.timeout_at(until):
                    read = await self._stream.read(_READ_BYTES)
            except TimeoutError:
                # It may have come at the same moment: reading what is there does not wait.
                try:
                    async with asyncio.timeout(0.0):
                        read = await self._stream.read(_READ_BYTES)
                except TimeoutError:
                    return []
            if not read:
                raise EOFError
            self._unread += read
        return answers

    async def one(self) -> HostAnswer:
        """The only answer to a request.

        Raises:
            EOFError, ConnectionError: as of `some`.
        """
        first, *more = await self.some()
        if more:
            raise ConnectionError(f"{1 + len(more)} answers to one request")
        return first

    def _whole(self) -> list[HostAnswer]:
        """Take the whole answers from what has been read.

        Raises:
            ConnectionError: there is none, but something that is no answer.
        """
        header, unread, at = frames.ANSWER, self._unread, 0
        answers: list[HostAnswer] = []
        while at + header.size <= len(unread):
            kind, position, began, ended, length = header.unpack_from(unread, at)
            if kind > frames.BEGAN or length > frames.MAX_OUTPUT_BYTES:
                if answers:  # these count; what follows them is judged the next time
                    break
                raise ConnectionError(f"a frame of kind {kind} and {length} bytes")
            end = at + header.size + length
            if end > len(unread):
                break
            answers.append(HostAnswer(kind, position, began, ended, bytes(unread[at + header.size : end])))
            at = end
        if at:
            del unread[:at]
        return answers
