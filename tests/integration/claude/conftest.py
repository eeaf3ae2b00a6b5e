"""The loopback endpoint, one for the session, and executions of the real CLI against it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.claude.playing import Claude

_START_SECONDS = 180.0


@pytest.fixture(scope="session")
def loopback_url(server_dir: Path) -> Iterator[str]:
    """Base address of a loopback endpoint."""
    ready = server_dir / "loopback.ready"
    with (server_dir / "loopback.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.claude_exec.loopback", "--ready-file", str(ready)],
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline, "the loopback endpoint does not start"
            time.sleep(0.02)
        yield ready.read_text("ascii").strip()
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
async def claude(nothing_left: None, loopback_url: str, tmp_path: Path) -> AsyncIterator[Claude]:
    """Runs prompts; afterwards no process, task, connection or directory of theirs is left."""
    playing = Claude(loopback_url, tmp_path)
    yield playing
    assert playing.left_directories() == []
