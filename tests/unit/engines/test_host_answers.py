"""Answers of an item host as they come through a pipe: in pieces, many at once, too late, or not from a host."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from services.router.engines.python import host_answers
from services.router.engines.python.host_answers import LOOK_SECONDS, HostAnswer, HostAnswers, answer_pipe
from services.router.engines.python.item_host import frames
from tests.waiting import wait_until


def packed(kind: int, position: int = 0, content: bytes = b"", *, length: int | None = None) -> bytes:
    """An answer as a host writes it."""
    size = len(content) if length is None else length
    return frames.ANSWER.pack(kind, position, 1.0, 2.0, size) + content


@dataclass
class PlayedHost:
    """A host's end of the pipe, and its bell."""

    pipe: int
    read_end: int
    bell: asyncio.StreamReader
    answers: HostAnswers

    def write(self, content: bytes, *, rings: bool = True) -> None:
        """Answer, and say so."""
        assert os.write(self.pipe, content) == len(content)
        if rings:
            self.bell.feed_data(b"!")

    def die(self, *, seen: bool = True) -> None:
        """End; the worker may see it by the bell first."""
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1
        if seen:
            self.bell.feed_eof()


@pytest.fixture
async def host() -> AsyncIterator[PlayedHost]:
    """What has come through the pipe."""
    read, write = answer_pipe()
    bell = asyncio.StreamReader()
    played = PlayedHost(write, read, bell, HostAnswers(read, bell))
    yield played
    played.die()
    played.answers.close()


async def test_all_that_has_come_is_read_at_once(host: PlayedHost) -> None:
    """And what is not whole is kept for the next time."""
    whole = packed(frames.SUCCEEDED, 0, b"1") + packed(frames.FAILED, 1, b"{}")
    part = packed(frames.SUCCEEDED, 2, b'"three"')
    host.write(whole + part[:-2])
    assert await host.answers.some() == [
        HostAnswer(frames.SUCCEEDED, 0, 1.0, 2.0, b"1"),
        HostAnswer(frames.FAILED, 1, 1.0, 2.0, b"{}"),
    ]
    host.write(part[-2:], rings=False)
    assert await host.answers.some() == [HostAnswer(frames.SUCCEEDED, 2, 1.0, 2.0, b'"three"')]


async def test_byte_by_byte(host: PlayedHost) -> None:
    """A pipe gives what it has; the rest of an answer that has begun is waited for without a ring."""
    reading = asyncio.create_task(host.answers.some())
    *most, last = packed(frames.OVER, 3, b"4096")
    for number, byte in enumerate(most):
        host.write(bytes([byte]), rings=number == 0)
        await wait_until(lambda: not select.select([host.read_end], [], [], 0)[0], description="it has been read")
        assert not reading.done()
    host.write(bytes([last]), rings=False)
    assert await reading == [HostAnswer(frames.OVER, 3, 1.0, 2.0, b"4096")]


async def test_what_does_not_ring_waits_for_a_look(host: PlayedHost) -> None:
    """A short item wakes nobody, but what it has answered does not lie there for longer than `LOOK_SECONDS`."""
    loop = asyncio.get_running_loop()
    host.write(packed(frames.SUCCEEDED, 0, b"1"))
    await host.answers.some()
    looked_at = loop.time()
    host.write(packed(frames.SUCCEEDED, 1, b"2"), rings=False)
    assert [answer.position for answer in await host.answers.some()] == [1]
    assert loop.time() - looked_at > LOOK_SECONDS / 2


async def test_a_large_answer_is_announced(host: PlayedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipe may not take all of it until somebody reads: who finds only what was before it stays there."""
    monkeypatch.setattr(host_answers, "LOOK_SECONDS", 3600.0)
    host.write(packed(frames.BEGAN), rings=False)
    host.bell.feed_data(frames.LARGE_RING)
    assert [answer.kind for answer in await host.answers.some()] == [frames.BEGAN]
    host.write(packed(frames.SUCCEEDED, 0, b"1" * frames.LARGE_BYTES), rings=False)
    assert [answer.kind for answer in await host.answers.some()] == [frames.SUCCEEDED]
    host.write(packed(frames.OVER, 1))
    assert [answer.kind for answer in await host.answers.some()] == [frames.OVER]


async def test_more_than_one_look_takes(host: PlayedHost) -> None:
    """What is left in the pipe is read without another ring."""
    content = b"1" * 100_000
    host.write(b"".join(packed(frames.SUCCEEDED, number, content) for number in range(8)))
    seen: list[int] = []
    while len(seen) < 8:
        seen += [answer.position for answer in await host.answers.some()]
    assert seen == list(range(8))


async def test_nothing_in_time(host: PlayedHost) -> None:
    """No answer by the time that was given: none; half of one is none."""
    host.write(packed(frames.OVER)[:5])
    assert await host.answers.some(asyncio.get_running_loop().time()) == []


async def test_an_answer_that_has_come_is_not_late(host: PlayedHost) -> None:
    """A worker that stood still finds the answer and the end of the time at once: the item has ended."""
    host.write(packed(frames.SUCCEEDED, 0, b"1"), rings=False)
    (answer,) = await host.answers.some(asyncio.get_running_loop().time() - 60.0)
    assert answer.content == b"1"


@pytest.mark.parametrize("seen", [True, False], ids=["by the bell", "by a look"])
async def test_the_end(host: PlayedHost, *, seen: bool) -> None:
    """The host has died, in the middle of an answer, too."""
    host.write(packed(frames.SUCCEEDED, 0, b"1") + packed(frames.SUCCEEDED, 1, b"2")[:-1], rings=False)
    host.die(seen=seen)
    assert [answer.position for answer in await host.answers.some()] == [0]
    with pytest.raises(EOFError):
        await host.answers.some()
    assert host.answers.have_ended


async def test_the_bell_ends_before_the_pipe(host: PlayedHost) -> None:
    """What the host had answered before it died is on its way."""
    host.bell.set_exception(ConnectionResetError())
    reading = asyncio.create_task(host.answers.some())
    await wait_until(host.bell.exception, description="the bell has ended")
    host.write(packed(frames.SUCCEEDED, 0, b"1"), rings=False)
    assert [answer.position for answer in await reading] == [0]
    host.die(seen=False)
    with pytest.raises(EOFError):
        await host.answers.some()


@pytest.mark.parametrize(
    "written", [b"Hello, I am printed by user code", packed(frames.SUCCEEDED, length=frames.MAX_OUTPUT_BYTES + 1)]
)
async def test_what_is_no_answer(host: PlayedHost, written: bytes) -> None:
    """User code may write to any descriptor: the host counts as dead, and no memory is taken for what it announces."""
    host.write(written)
    with pytest.raises(ConnectionError):
        await host.answers.some()


async def test_answers_before_what_is_none_count(host: PlayedHost) -> None:
    """The items before it have their outcomes; whoever reads on learns that it is no host."""
    host.write(packed(frames.SUCCEEDED, 0, b"1") + b"Hello, I am printed by user code")
    assert [answer.position for answer in await host.answers.some()] == [0]
    with pytest.raises(ConnectionError):
        await host.answers.some()


async def test_one_request_has_one_answer(host: PlayedHost) -> None:
    """Two are none."""
    host.write(packed(frames.LOADED) + packed(frames.LOADED))
    with pytest.raises(ConnectionError, match="2 answers"):
        await host.answers.one()
