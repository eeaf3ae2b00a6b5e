"""Leases end by a clock that counts the time that the machine sleeps, and so does an item host's look at them."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE

import pytest

SLEPT_SECONDS = 86_400

# A time namespace of Linux: in it, all has slept for so long.
ELSEWHERE = ("unshare", "--time", f"--boottime={SLEPT_SECONDS}", "--fork", "--kill-child")


async def _output(*command: str) -> tuple[int, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    out, errors = await asyncio.wait_for(process.communicate(), 60.0)
    assert process.returncode is not None
    return process.returncode, out, errors


async def test_a_machine_that_has_slept_begins_nothing_after_the_end_of_a_lease() -> None:
    """`time.monotonic` would be a day behind, and every item would begin."""
    try:
        status, _, errors = await _output(*ELSEWHERE, "true")
    except FileNotFoundError:
        pytest.skip("no `unshare` here")
    if status:
        pytest.skip(f"no time namespace can be made here: {errors.decode().strip()}")
    status, out, errors = await _output(*ELSEWHERE, sys.executable, "-m", "tests.integration.slept_machine")
    assert (status, out.split()) == (0, [str(SLEPT_SECONDS).encode(), b"0", b"2"]), errors.decode()
