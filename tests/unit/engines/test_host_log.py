"""What functions print, in the log of the worker."""

from __future__ import annotations

import asyncio
import logging

import pytest
import structlog

from services.router.engines.python.host_log import HostLog
from shared.logs.setup import job_logs
from tests.waiting import wait_until

Line = tuple[str, object]


class _Kept(logging.Handler):
    """Keeps each line with the job that it is logged for."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.lines.append((record.getMessage(), structlog.contextvars.get_contextvars().get("job_id")))


@pytest.fixture
def kept() -> _Kept:
    """What is logged of hosts."""
    return _Kept()


async def test_lines_carry_the_job_whose_item_printed_them(kept: _Kept, caplog: pytest.LogCaptureFixture) -> None:
    """A host that one job has started serves the next one, too: neither's lines stand under the other."""
    logger = logging.getLogger("services.router.engines.python.host_log")
    caplog.set_level(logging.INFO, logger.name)
    logger.addHandler(kept)
    try:
        stream = asyncio.StreamReader()
        with job_logs("a"):
            log = HostLog(stream, 7)
            draining = asyncio.create_task(log.drain())
            log.next_slice()
            stream.feed_data(b"of a\n" * 201)
            await wait_until(lambda: len(kept.lines) == 200, description="as many lines as a slice may print")
        with job_logs("b"):
            log.next_slice()
            stream.feed_data(b"of b\n")
            await wait_until(lambda: ("item host 7: of b", "b") in kept.lines, description="the line of the other job")
        stream.feed_data(b"the rest")
        stream.feed_eof()
        await draining
    finally:
        logger.removeHandler(kept)
    assert set(kept.lines[:200]) == {("item host 7: of a", "a")}
    assert kept.lines[200:] == [
        ("item host 7: 1 more lines were not logged", "a"),
        ("item host 7: of b", "b"),
        ("item host 7: the rest", "b"),
    ]
