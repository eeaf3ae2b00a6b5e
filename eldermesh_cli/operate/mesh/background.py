"""`mesh up --detach`: start a mesh in a session of its own, and leave once it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from eldermesh.launch import python_command
from eldermesh_cli.answers.stack import PsAnswer
from eldermesh_cli.operate.mesh.place import already_running
from eldermesh_cli.operate.mesh.start_progress import show_ready
from eldermesh_cli.program.errors import CliError, ExitStatus
from eldermesh_cli.stack.control import request
from eldermesh_cli.stack.data_dir import data_dir_owner
from eldermesh_cli.stack.processes.log_file import log_tail, open_log
from eldermesh_cli.stack.runtime_file import Runtime, live_runtime
from eldermesh_cli.terminal.output import Output
from shared.settings import Settings

SUPERVISOR_LOG = "supervisor"

_READY_SECONDS = 240.0
"""Above the sum of the services' own limits, which are the ones that say what is wrong."""
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.05


def run_in_background(settings: Settings, output: Output) -> None:
    """Start a mesh, wait until it is ready, and leave it running.

    Raises:
        CliError: one runs there already, or it did not get ready; then nothing of it is left.
    """
    data_dir = settings.data_dir
    owner = data_dir_owner(data_dir)
    if owner is not None:
        raise already_running(data_dir, owner.pid)
    supervisor = _BackgroundSupervisor(settings, output)
    try:
        runtime = supervisor.wait_ready()
    except BaseException:  # Ctrl-C too: who did not wait until it was ready does not want it
        supervisor.stop()
        raise
    answer = PsAnswer.model_validate({"processes": asyncio.run(request(data_dir, "ps"))["processes"]})
    show_ready(output, runtime, answer.processes, data_dir, stop="mesh down")


class _BackgroundSupervisor:
    """A supervisor that was started in a session of its own, and is not ready yet."""

    def __init__(self, settings: Settings, output: Output) -> None:
        self._data_dir = settings.data_dir
        self._output = output
        self._log_path = self._data_dir / "logs" / f"{SUPERVISOR_LOG}.log"
        self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = os.environ | settings.environment()
        environment.pop("MESH_KAFKA_BOOTSTRAP")  # the mesh has a broker of its own; of the shell's this command warns
        log = open_log(self._log_path)
        self._told_to = os.fstat(log).st_size
        try:
            self._process = subprocess.Popen(
                python_command("eldermesh_cli.main", "up"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        finally:
            os.close(log)

    def wait_ready(self) -> Runtime:
        """Wait for it, telling on standard error what it tells in its log.

        Raises:
            CliError: it ended, or the limit was reached.
        """
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            self._tell()
            runtime = live_runtime(self._data_dir)
            if runtime is not None and runtime.supervisor.pid == self._process.pid:
                self._tell()
                return runtime
            if self._process.poll() is not None:
                raise self._ended(self._process.returncode)
            time.sleep(_POLL_SECONDS)
        raise _start_failed(
            f"the mesh was not ready within {_READY_SECONDS:g} s (log: {self._log_path})\n{log_tail(self._log_path)}"
        )

    def stop(self) -> None:
        """Have it stop what it started."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its leashes then kill everything below them
            self._process.wait()

    def _tell(self) -> None:
        """Pass on the lines about services that have come since the last call."""
        with self._log_path.open("rb") as log:
            log.seek(self._told_to)
            *lines, _ = log.read().split(b"\n")
        for line in lines:
            self._told_to += len(line) + 1
            if line.startswith(b"mesh: "):
                self._output.note(line.decode("utf-8", "replace"))

    def _ended(self, returncode: int) -> CliError:
        if returncode == ExitStatus.NOT_FOUND:  # somebody else was quicker
            owner = data_dir_owner(self._data_dir)
            return already_running(self._data_dir, None if owner is None else owner.pid)
        return _start_failed(f"the mesh did not start (log: {self._log_path})\n{_last_words(self._log_path)}")


def _start_failed(message: str) -> CliError:
    hint = "`mesh logs` shows what its services said"
    return CliError(ExitStatus.UNAVAILABLE, "start_failed", message, hint)


def _last_words(log_path: Path) -> str:
    """The end of the log, from the last error on if there is one."""
    tail = log_tail(log_path, lines=40)
    found = tail.rfind("Error: ")
    return tail if found < 0 else tail[found:]
