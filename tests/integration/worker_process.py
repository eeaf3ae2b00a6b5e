"""A Celery worker as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from eldermesh_cli.stack.processes.identity import ProcessIdentity
from shared.settings import Settings
from tests.waiting import wait_until


class WorkerProcess:
    """A worker in a session of its own, without a leash: nobody but itself ends what it started."""

    def __init__(self, settings: Settings, directory: Path, module: str, queues: str | None = None) -> None:
        self.ready_file = directory / "ready"
        self.log = directory / "worker.log"
        command = [sys.executable, "-m", module, "--ready-file", str(self.ready_file)]
        if queues is not None:
            command += ["--queues", queues]
        temporary = directory / "tmp" / "celery"
        temporary.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=os.environ | settings.environment() | {"TMPDIR": str(temporary)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def ready(self) -> None:
        """Wait until it takes tasks."""
        await wait_until(
            lambda: self.ready_file.exists() or self.process.poll() is not None, description="the worker is ready"
        )
        assert self.process.poll() is None, self.log.read_text("utf-8")

    def children(self) -> list[int]:
        """The pids of its pool."""
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def child_above(self, descendant: ProcessIdentity) -> int:
        """The child of the pool that a process belongs to."""
        (child,) = [
            pid
            for pid in self.children()
            if descendant.pid in {below.pid for below in psutil.Process(pid).children(recursive=True)}
        ]
        return child

    def family(self) -> list[ProcessIdentity]:
        """The worker and every process below it."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        pids = [self.process.pid, *(process.pid for process in below)]
        return [identity for pid in pids if (identity := ProcessIdentity.of(pid)) is not None]


@contextmanager
def running_worker(
    settings: Settings,
    directory: Path,
    *,
    module: str = "services.router.engines.celery.worker",
    queues: str | None = None,
) -> Iterator[WorkerProcess]:
    """A worker of all queues or of `queues`, or a module that runs one; killed on the way out, if it still runs."""
    worker = WorkerProcess(settings, directory, module, queues)
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait(60)
