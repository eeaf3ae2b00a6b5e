"""The loopback endpoint as a process of its own, for tests that need somebody to answer like the Messages API."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from eldermesh_cli.stack.processes.child import OwnedProcess
from tests.waiting import wait_until

STOP_SECONDS = 10.0


class LoopbackEndpoint:
    """An endpoint that dies with the tests; once `ready`, at `url`."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.ready_file = directory / "loopback.url"
        self.process = OwnedProcess(
            [
                sys.executable,
                "-m",
                "services.claude_exec.loopback",
                "--ready-file",
                str(self.ready_file),
                *arguments,
            ],
            log_path=directory / "loopback.log",
            env=os.environ | {"MESH_LOG_LEVEL": "debug"},
        )
        self.url = ""

    async def ready(self) -> None:
        """Wait until it listens."""

        def look() -> bool:
            assert self.process.poll() is None, self.log()
            return self.ready_file.exists()

        await wait_until(look, description="the loopback endpoint listens")
        self.url = self.ready_file.read_text("ascii").strip()

    def log(self) -> str:
        """All that it has said."""
        return self.process.log_path.read_text("utf-8")

    def requests(self, containing: str = "") -> list[dict[str, Any]]:
        """What it was asked with prompts that contain a text."""
        answer = httpx.get(f"{self.url}/_loopback/requests", timeout=60)
        return [each for each in answer.json()["requests"] if containing in (each["prompt"] or "")]


@contextmanager
def shared_loopback(directory: Path, *arguments: str) -> Iterator[LoopbackEndpoint]:
    """An endpoint that listens, for a fixture that several tests share; it has to stop in order."""
    endpoint = LoopbackEndpoint(directory, *arguments)
    endpoint.process.start()
    # A loop of its own that is never made the current one: the tests have theirs.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        try:
            runner.run(endpoint.ready())
            yield endpoint
        finally:
            runner.run(endpoint.process.stop(STOP_SECONDS))
    assert not endpoint.process.killed, endpoint.log()
