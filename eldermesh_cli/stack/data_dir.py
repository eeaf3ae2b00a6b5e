"""The data directory belongs to one mesh at a time."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from eldermesh_cli.stack.errors import DataDirInUseError
from eldermesh_cli.stack.processes.identity import ProcessIdentity

LOCK_NAME = "lock"
_POLL_SECONDS = 0.05


class DataDirLock:
    """The exclusive right to a data directory.

    The kernel keeps the lock as long as any process holds `fd` open. Services get it as a held descriptor, so that
    after a SIGKILL of the owner nobody else begins before the last of its processes is gone.
    """

    def __init__(self, data_dir: Path, fd: int) -> None:
        self.data_dir = data_dir
        self.fd = fd

    @classmethod
    async def acquire(cls, data_dir: Path, *, leftovers_seconds: float = 15.0) -> DataDirLock:
        """Make the directory if need be, and take it.

        If its owner is dead and only what it left is ending, wait for that up to `leftovers_seconds`.

        Raises:
            DataDirInUseError: another process has it.
        """
        fd = _open_lock(data_dir)
        try:
            await _wait_for_lock(data_dir, fd, leftovers_seconds)
        except BaseException:
            os.close(fd)
            raise
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(asdict(ProcessIdentity.of_this_process())).encode(), 0)
        return cls(data_dir, fd)

    def release(self) -> None:
        """Give the directory back; the lock file stays, since removing it would let two processes in."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def data_dir_owner(data_dir: Path) -> ProcessIdentity | None:
    """Return the process that runs a mesh on this data directory, ready or not; None when none does."""
    try:
        fd = os.open(data_dir / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        holder = _holder(fd)
    finally:
        os.close(fd)
    return holder if holder is not None and holder.is_alive() else None


def _open_lock(data_dir: Path) -> int:
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


async def _wait_for_lock(data_dir: Path, fd: int, leftovers_seconds: float) -> None:
    deadline = time.monotonic() + leftovers_seconds
    while not _try_lock(fd):
        holder = _holder(fd)
        if time.monotonic() > deadline or (holder is not None and holder.is_alive()):
            raise DataDirInUseError(data_dir, None if holder is None else holder.pid)
        await asyncio.sleep(_POLL_SECONDS)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(fd: int) -> ProcessIdentity | None:
    """Return who wrote the lock file last; None while it is being written."""
    try:
        return ProcessIdentity(**json.loads(os.pread(fd, 4096, 0)))
    except (ValueError, TypeError):
        return None
