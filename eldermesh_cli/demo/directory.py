"""The demo's own mesh: in a directory of its own, gone with it at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from eldermesh_cli.demo.command import CommandFailedError, MeshCommand, demo_environment
from eldermesh_cli.demo.screen import Screen
from eldermesh_cli.stack.data_dir import data_dir_owner
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from eldermesh_cli.stack.runtime_file import Runtime, live_runtime

NOTIFY_RULES = """channels:
  terminal: {type: console}
rules:
  - name: rejected or failed
    on: [end]
    match: {status: [rejected, failed]}
    channels: [terminal]
  - name: waits for a person
    on: [hold]
    channels: [terminal]
"""
"""What people are told during the demo: see docs/how-to/notifications.md."""

_PREFIX = "eldermesh-demo-"


class DemoPlace:
    """A directory, and the mesh that runs in it."""

    def __init__(self, screen: Screen, directory: Path) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        rules = directory / "notify.yaml"
        rules.write_text(NOTIFY_RULES, "utf-8")
        environment = demo_environment(self.data_dir) | {"MESH_NOTIFY_RULES": str(rules)}
        self.mesh = MeshCommand(screen, directory, environment)
        self.keep = False

    def runtime(self) -> Runtime:
        """Where the mesh is.

        Raises:
            CommandFailedError: it does not run.
        """
        runtime = live_runtime(self.data_dir)
        if runtime is None:
            raise CommandFailedError("the mesh is not there")
        return runtime

    def processes(self) -> list[ProcessIdentity]:
        """All processes of the mesh; none when it does not run."""
        owner = data_dir_owner(self.data_dir)
        if owner is None:
            return []
        supervisor = psutil.Process(owner.pid)
        found = [ProcessIdentity.of(each.pid) for each in (supervisor, *supervisor.children(recursive=True))]
        return [identity for identity in found if identity is not None]

    def leave(self) -> None:
        """End the mesh if it still runs, and remove the directory unless it is to be kept."""
        if data_dir_owner(self.data_dir) is not None:
            try:
                self.mesh.ask("down")
            except (CommandFailedError, OSError, ValueError):
                owner = data_dir_owner(self.data_dir)
                if owner is not None:
                    os.kill(owner.pid, signal.SIGKILL)  # all below it die with it
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def demo_place(screen: Screen) -> Iterator[DemoPlace]:
    """A place for one demo; SIGTERM and a closed terminal end it as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    place = DemoPlace(screen, Path(tempfile.mkdtemp(prefix=_PREFIX)))
    try:
        yield place
    finally:
        place.leave()
