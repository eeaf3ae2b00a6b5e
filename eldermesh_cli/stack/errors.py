"""What can go wrong with the embedded stack, each named after what to do about it."""

from __future__ import annotations

from pathlib import Path

from eldermesh.counted import counted
from shared.errors import MeshError


class StackError(MeshError):
    """Any failure of the embedded stack; for the command line: unavailable."""


class NotReadyError(StackError):
    """A readiness check says: not yet, for this reason. Ask again until the limit."""


class StartFailedError(StackError):
    """A service could not be started; nothing of it is left. `log_tail` holds its last lines."""

    def __init__(self, name: str, reason: str, log_path: Path, log_tail: str) -> None:
        self.name = name
        self.reason = reason
        self.log_path = log_path
        self.log_tail = log_tail
        super().__init__(f"{name} did not start: {reason} (log: {log_path})" + (f"\n{log_tail}" if log_tail else ""))


class GaveUpError(StackError):
    """A service that holds everything in memory died too often, too quickly; the stack has been stopped."""

    def __init__(self, name: str, deaths: int, log_path: Path) -> None:
        self.name = name
        super().__init__(
            f"{name} died {counted(deaths, 'time')} in quick succession; the mesh was stopped (log: {log_path})"
        )


class DataDirInUseError(StackError):
    """Another mesh runs, or is still ending, on this data directory."""

    def __init__(self, data_dir: Path, pid: int | None) -> None:
        self.pid = pid
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(f"{who} runs a mesh on {data_dir}: stop it with `mesh down`, or choose another MESH_DATA_DIR")


class NotRunningError(StackError):
    """No mesh answers on this data directory: start one."""


class ProcessWouldNotDieError(StackError):
    """A process outlived SIGKILL for longer than the limit: look at the machine."""


class RuntimeFileDamagedError(StackError):
    """The runtime file is not one: a person has to look."""


class RequestRefusedError(StackError):
    """The supervisor answered, but not with what was asked for."""
