"""What an item host answers, read from its pipe many answers at a time: when its bell rings, or at times."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from typing import Final, NamedTuple

from services.router.engines.python.item_host import frames

LOOK_SECONDS: Final = 0.1
"""The longest time that an answer lies in the pipe because the host has not rung."""

_READ_BYTES = 256 * 1024
_PIPE_BYTES = 1024 * 1024
"""What the host can answer while nobody reads, where the system allows as much."""

_BELL_BYTES = 4096


class HostAnswer(NamedTuple):
    """One answer; `frames` explains kinds and contents. `began` and `ended` are seconds of `time.monotonic`."""

    kind: int
    position: int
    began: float
    ended: float
    content: bytes


def answer_pipe() -> tuple[int, int]:
    """A pipe for answers: the descriptor to read from, which never blocks, and the one for the host.

    Raises:
        OSError: there are too many descriptors.
    """
    read, write = os.pipe()
    os.set_blocking(read, False)
    with contextlib.suppress(OSError):  # a user may have only so much; then the host has to wait for us sooner
        fcntl.fcntl(read, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return read, write


class HostAnswers:
    """The answers of one host.

    Args:
        pipe: the descriptor that they are read from, which this closes.
        bell: has a byte in it when it is time to look.
    """

    def __init__(self, pipe: int, bell: asyncio.StreamReader) -> None:
        self._pipe = pipe
        self._bell = bell
        self._rings = True
        """Whether the bell may ring; it has ended before the pipe of a host that has died."""
        self._looked_at = 0.0
        self._unread = bytearray()
        self._due = 0
        """How many large answers the host has announced that have not been read; negative: read before the bell was."""
        self._is_more = False
        """Whether something was left in the pipe at the last look."""
        self.have_ended = False
        """Whether no more will come."""

    def close(self) -> None:
        """Read no more."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe, self.have_ended = -1, True

    async def some(self, until: float | None = None) -> list[HostAnswer]:
        """All answers that have come, at least one; none if no whole one has by `until`, of the loop's clock.

        Raises:
            EOFError: there are no more.
            ConnectionError: what has come is no answer of a host: something else wrote it.
        """
        loop = asyncio.get_running_loop()
        while not (answers := self._whole()):
            if self.have_ended:
                raise EOFError
            await self._wait(loop, until)
            # It may have come at the last moment: reading what is there does not wait.
            if not self._read() and until is not None and loop.time() >= until:
                return []
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

    async def _wait(self, loop: asyncio.AbstractEventLoop, until: float | None) -> None:
        """Wait until it is time to look, or `until`."""
        if self._is_more:
            await asyncio.sleep(0)
            return
        is_whole = self._rings and not self._unread and self._due <= 0
        look_at = self._looked_at + LOOK_SECONDS if is_whole else None
        ends = min((at for at in (until, look_at) if at is not None), default=None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(ends):
                if is_whole:
                    rung = await _rung(self._bell)
                    self._rings = bool(rung)
                    self._due += rung.count(frames.LARGE_RING)
                else:  # what has begun or is announced is on its way; of a host that has died, what it has left
                    await _readable(loop, self._pipe)
        self._looked_at = loop.time()

    def _read(self) -> bool:
        """Read what is there; whether that was anything, be it the end."""
        size, self._is_more = 0, False
        while not self._is_more:
            try:
                some = os.read(self._pipe, _READ_BYTES)
            except BlockingIOError:
                break
            if not some:
                self.have_ended = True
                break
            self._unread += some
            size += len(some)
            self._is_more = size >= _READ_BYTES
        return size > 0 or self.have_ended

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
            self._due -= length >= frames.LARGE_BYTES
            at = end
        if at:
            del unread[:at]
        return answers


async def _rung(bell: asyncio.StreamReader) -> bytes:
    """Wait until the bell rings; nothing: it rings no more."""
    try:
        return await bell.read(_BELL_BYTES)
    except ConnectionError:  # the host has died before it had read all that we had sent
        return b""


async def _readable(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    """Wait until something, or the end, can be read."""
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
