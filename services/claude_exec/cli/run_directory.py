"""One directory for each CLI run: configuration, home, temporary files, and an empty working directory.

The run holds a lock on it. A directory whose lock nobody holds was left by a killed worker; the next worker removes it.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from eldermesh.shield import to_its_end
from shared.backoff.os_errors import passes
from shared.errors import MeshError, RetryableError
from shared.settings import Settings

_NAME = "claude-runs"
_LOCK = ".lock"
_PARTS = ("config", "home", "tmp", "work")
_PRIVATE = 0o700

_log = logging.getLogger(__name__)


class NoRunDirectoryError(MeshError):
    """The data directory cannot hold a run; the message says why."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The directory of one run.

    Attributes:
        path: Removed after the run, with its contents.
        lock_fd: A process that inherits this descriptor holds the lock, too.
    """

    path: Path
    lock_fd: int

    @property
    def config(self) -> Path:
        """For `CLAUDE_CONFIG_DIR`; two runs that shared it would overwrite each other's files."""
        return self.path / "config"

    @property
    def home(self) -> Path:
        """For `HOME`."""
        return self.path / "home"

    @property
    def temporary(self) -> Path:
        """For `TMPDIR`."""
        return self.path / "tmp"

    @property
    def work(self) -> Path:
        """An empty working directory, for jobs that name none."""
        return self.path / "work"


def runs_path(settings: Settings) -> Path:
    """The parent of all run directories of this machine."""
    return settings.data_dir / _NAME


@asynccontextmanager
async def run_directory(settings: Settings) -> AsyncIterator[RunDirectory]:
    """A directory for one run. Its processes must have ended before this exits.

    Raises:
        RetryableError: there is no room for it now, as on a full disk.
        NoRunDirectoryError: it cannot be created.
    """
    try:
        place = _make(runs_path(settings))
    except OSError as error:
        if passes(error):
            raise RetryableError(f"no directory for a CLI run: {error}") from error
        raise NoRunDirectoryError(f"no directory for a CLI run: {error}") from error
    try:
        yield place
    finally:
        # In a thread, because a working copy may be large; not interrupted by a cancellation.
        await to_its_end(asyncio.to_thread(_remove, place))


def remove_abandoned(settings: Settings) -> int:
    """Remove the directories of killed workers' runs; return how many there were."""
    removed = 0
    parent = runs_path(settings)
    for lock in parent.glob(f"*{_LOCK}"):
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # its run goes on
            os.close(descriptor)
            continue
        _remove(RunDirectory(lock.with_suffix(""), descriptor))
        removed += 1
    return removed


def _make(parent: Path) -> RunDirectory:
    parent.mkdir(_PRIVATE, parents=True, exist_ok=True)
    while True:
        path = parent / uuid4().hex
        descriptor = os.open(path.with_suffix(_LOCK), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another process locked it between the two calls, to remove it
            os.close(descriptor)
            continue
        for part in _PARTS:
            (path / part).mkdir(_PRIVATE, parents=True)
        return RunDirectory(path, descriptor)


def _remove(place: RunDirectory) -> None:
    try:
        shutil.rmtree(place.path, onerror=_tell)
        place.path.with_suffix(_LOCK).unlink(missing_ok=True)
    finally:
        os.close(place.lock_fd)


def _tell(_function: object, path: str, error: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(error[1], FileNotFoundError):
        _log.warning("%s of a CLI run could not be removed: %r", path, error[1])
