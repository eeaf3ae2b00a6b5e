"""Answers of an item host as they come through a pipe: in pieces, many at once, too late, or not from a host."""

from __future__ import annotations

import asyncio

import pytest

from services.router.engines.python.host_answers import HostAnswer, HostAnswers
from services.router.engines.python.item_host import frames


def packed(kind: int, position: int = 0, content: bytes = b"", *, length: int | None = None) -> bytes:
    """An answer as a host writes it."""
    size = len(content) if length is None else length
    return frames.ANSWER.pack(kind, position, 1.0, 2.0, size) + content


@pytest.fixture
async def stream() -> asyncio.StreamReader:
    """What has come through the pipe."""
    return asyncio.StreamReader()


async def test_all_that_has_come_is_read_at_once(stream: asyncio.StreamReader) -> None:
    """And what is not whole is kept for the next time."""
    whole = packed(frames.SUCCEEDED, 0, b"1") + packed(frames.FAILED, 1, b"{}")
    part = packed(frames.SUCCEEDED, 2, b'"three"')
    answers = HostAnswers(stream)
    stream.feed_data(whole + part[:-2])
    assert await answers.some() == [
        HostAnswer(frames.SUCCEEDED, 0, 1.0, 2.0, b"1"),
        HostAnswer(frames.FAILED, 1, 1.0, 2.0, b"{}"),
    ]
    stream.feed_data(part[-2:])
    assert await answers.some() == [HostAnswer(frames.SUCCEEDED, 2, 1.0, 2.0, b'"three"')]


async def test_byte_by_byte(stream: asyncio.StreamReader) -> None:
    """A pipe gives what it has."""
    answers = HostAnswers(stream)
    reading = asyncio.create_task(answers.some())
    for byte in packed(frames.OVER, 3, b"4096"):
        assert not reading.done()
        stream.feed_data(bytes([byte]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert await reading == [HostAnswer(frames.OVER, 3, 1.0, 2.0, b"4096")]


async def test_nothing_in_time(stream: asyncio.StreamReader) -> None:
    """No answer by the time that was given: none; half of one is none."""
    stream.feed_data(packed(frames.OVER)[:5])
    assert await HostAnswers(stream).some(asyncio.get_running_loop().time()) == []


async def test_an_answer_that_has_come_is_not_late(stream: asyncio.StreamReader) -> None:
    """A worker that stood still finds the answer and the end of the time at once: the item has ended."""
    stream.feed_data(packed(frames.SUCCEEDED, 0, b"1"))
    (answer,) = await HostAnswers(stream).some(asyncio.get_running_loop().time() - 60.0)
    assert answer.content == b"1"


async def test_the_end(stream: asyncio.StreamReader) -> None:
    """The host has died, in the middle of an answer, too."""
    stream.feed_data(packed(frames.SUCCEEDED, 0, b"1") + packed(frames.SUCCEEDED, 1, b"2")[:-1])
    stream.feed_eof()
    answers = HostAnswers(stream)
    assert [answer.position for answer in await answers.some()] == [0]
    with pytest.raises(EOFError):
        await answers.some()
    assert answers.have_ended


@pytest.mark.parametrize(
    "written", [b"Hello, I am printed by user code", packed(frames.SUCCEEDED, length=frames.MAX_OUTPUT_BYTES + 1)]
)
async def test_what_is_no_answer(stream: asyncio.StreamReader, written: bytes) -> None:
    """User code may write to any descriptor: the host counts as dead, and no memory is taken for what it announces."""
    stream.feed_data(written)
    with pytest.raises(ConnectionError):
        await HostAnswers(stream).some()


async def test_answers_before_what_is_none_count(stream: asyncio.StreamReader) -> None:
    """The items before it have their outcomes; whoever reads on learns that it is no host."""
    stream.feed_data(packed(frames.SUCCEEDED, 0, b"1") + b"Hello, I am printed by user code")
    answers = HostAnswers(stream)
    assert [answer.position for answer in await answers.some()] == [0]
    with pytest.raises(ConnectionError):
        await answers.some()


async def test_one_request_has_one_answer(stream: asyncio.StreamReader) -> None:
    """Two are none."""
    stream.feed_data(packed(frames.LOADED) + packed(frames.LOADED))
    with pytest.raises(ConnectionError, match="2 answers"):
        await HostAnswers(stream).one()
