"""Prompts run by the executor, with the real CLI, as tests ask for them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from eldermesh_cli.stack.processes.identity import ProcessIdentity
from services.claude_exec.cli.command import BUNDLED_CLI
from services.claude_exec.cli.run_directory import runs_path
from services.claude_exec.cli.transport import OnMessage
from services.claude_exec.executor import Execution
from services.claude_exec.options import judged_options
from services.claude_exec.outcomes.outcome import ClaudeOutcome
from shared.settings import Settings
from tests.waiting import wait_until

SHORT: dict[str, Any] = {"claude_idle_seconds": 60.0, "claude_grace_seconds": 2.0, "claude_max_retries": 1}


class Claude:
    """The executor with settings of its own."""

    def __init__(self, url: str, directory: Path) -> None:
        self.code = directory / "code"
        self.code.mkdir()
        self._values = SHORT | {
            "data_dir": directory / "data",
            "anthropic_base_url": url,
            "claude_roots": (self.code,),
            "max_item_deaths": 2,
        }

    def settings(self, **values: Any) -> Settings:
        """The settings, with some replaced."""
        return Settings.model_validate(self._values | values)

    def execution(
        self,
        prompt: str,
        *,
        options: dict[str, Any] | None = None,
        on_message: OnMessage | None = None,
        traceparent: str | None = None,
        timeout_seconds: float | None = None,
        **values: Any,
    ) -> Execution:
        """An execution that has not begun; `values` replace settings."""
        settings = self.settings(**values)
        return Execution(
            prompt,
            judged_options(options or {}, settings),
            settings,
            on_message=on_message,
            traceparent=traceparent,
            timeout_seconds=timeout_seconds,
        )

    async def run(self, prompt: str, **arguments: Any) -> ClaudeOutcome:
        """Run a prompt to its outcome."""
        return await self.execution(prompt, **arguments).run()

    def wrapper(self, script: str) -> str:
        """A shell script around the real CLI, `$CLI` in it, in place of the CLI."""
        path = self.code.parent / "claude-wrapper"
        path.write_text(f"#!/bin/bash\nCLI={shlex.quote(str(BUNDLED_CLI))}\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    def left_directories(self) -> list[Path]:
        """What runs left below the data directory."""
        path = runs_path(self.settings())
        return sorted(path.iterdir()) if path.exists() else []


def own_seconds() -> str:
    """Ten minutes for a `sleep` to find again: no other process of this machine has them, nor their digits as a pid."""
    return f"600.{uuid4().int % 10**12:012}"


async def process_named(argument: str) -> ProcessIdentity:
    """The process that has this argument, once there is one."""
    return (await wait_until(lambda: processes_named(argument), description=f"{argument} runs"))[0]


def processes_named(argument: str) -> list[ProcessIdentity]:
    """All processes that have this argument; for a sleep, `own_seconds`."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if argument in (process.info["cmdline"] or ()):
            identity = ProcessIdentity.of(process.pid)
            if identity is not None:
                found.append(identity)
    return found
