"""The `mesh` command as a person runs it, on the demo's own mesh."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eldermesh.launch import python_command
from eldermesh_cli.demo.screen import Screen

_KEPT = ("MESH_OTLP_ENDPOINT", "MESH_TRACE_UI_URL", "MESH_SLOTS", "MESH_LOG_LEVEL")
"""Settings that a person may give the demo; any other would lead it to another mesh."""

_COMMAND_SECONDS = 300.0
_STOP_SECONDS = 90.0


class CommandFailedError(Exception):
    """A command ended otherwise than the demo needs to go on."""


def demo_environment(data_dir: Path) -> dict[str, str]:
    """The environment of everything that the demo runs."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MESH_") or name in _KEPT}
    return inherited | {"MESH_DATA_DIR": str(data_dir)}


class MeshCommand:
    """Runs `mesh …` in the demo's directory, where no `.env` can say otherwise.

    Args:
        screen: where it is shown.
        directory: the demo's own.
        env: see `demo_environment`.
    """

    def __init__(self, screen: Screen, directory: Path, env: Mapping[str, str]) -> None:
        self._screen = screen
        self._directory = directory
        self._env = dict(env)

    def show(self, *arguments: str) -> int:
        """Run it in full view, and return its exit status."""
        self._screen.command(shlex.join(["mesh", *arguments]))
        return self._run(arguments, capture=False).returncode

    def ask(self, *arguments: str) -> Any:
        """Run it with `--json`, unseen, and return its answer.

        Raises:
            CommandFailedError: it gave none.
        """
        ended = self._run((*arguments, "--json"), capture=True)
        if ended.returncode != 0:
            raise CommandFailedError(f"mesh {shlex.join(arguments)} failed: {ended.stderr.strip()}")
        return json.loads(ended.stdout)

    def _run(self, arguments: tuple[str, ...], *, capture: bool) -> subprocess.CompletedProcess[str]:
        command = python_command("eldermesh_cli.main", *arguments)
        pipe = subprocess.PIPE if capture else None
        with subprocess.Popen(
            command,
            cwd=self._directory,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            text=True,
        ) as process:
            try:
                stdout, stderr = process.communicate(timeout=_COMMAND_SECONDS)
            except BaseException:
                # It stops what it started, and must be let finish that: `subprocess.run` would kill it.
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=_STOP_SECONDS)
                raise
        return subprocess.CompletedProcess(command, process.returncode, stdout or "", stderr or "")
