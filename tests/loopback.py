"""The loopback endpoint as a process of its own, for tests that need somebody to answer like the Messages API."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 30.0


class LoopbackProcess:
    """An endpoint at `url`, in a session of its own."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.ready_file = directory / "loopback.url"
        self.log = directory / "loopback.log"
        command = [sys.executable, "-m", "services.claude_exec.loopback", "--ready-file", str(self.ready_file)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                env=os.environ | {"MESH_LOG_LEVEL": "debug"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.url = ""

    def wait_ready(self) -> None:
        """Wait until it listens; fixtures of a whole module have no event loop to wait in."""
        deadline = time.monotonic() + START_SECONDS
        while not self.ready_file.exists():
            assert self.process.poll() is None, self.log.read_text("utf-8")
            assert time.monotonic() < deadline, "the loopback endpoint does not start"
            time.sleep(0.02)
        self.url = self.ready_file.read_text("ascii").strip()

    def requests(self, containing: str = "") -> list[dict[str, Any]]:
        """What it was asked, of prompts that contain a text."""
        answer = httpx.get(f"{self.url}/_loopback/requests", timeout=10)
        return [each for each in answer.json()["requests"] if containing in (each["prompt"] or "")]


@contextmanager
def running_loopback(directory: Path, *arguments: str) -> Iterator[LoopbackProcess]:
    """An endpoint that listens; killed on the way out, if it still runs."""
    endpoint = LoopbackProcess(directory, *arguments)
    try:
        endpoint.wait_ready()
        yield endpoint
    finally:
        endpoint.process.kill()
        endpoint.process.wait(10)
