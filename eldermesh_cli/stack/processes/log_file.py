"""Log files of child processes: appended to, and bounded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MAX_BYTES = 16 * 1024 * 1024
"""A log above this size is rotated."""

KEPT = 3
"""Older files kept of each log: `NAME.log.1` is the youngest."""

_TAIL_BYTES = 16 * 1024


def open_log(path: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> int:
    """Open a log for appending, after rotating it if it is too large, and return the file descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > max_bytes:
        _shift(path, kept)
        path.rename(_older(path, 1))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def cut_log(path: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> bool:
    """Rotate a log that is being written, if it is too large; return whether it was.

    The writer keeps its descriptor, so the content is copied and the file emptied; as it was opened for appending, the
    writer goes on at the new end. What it writes between the two is lost.
    """
    if not path.exists() or path.stat().st_size <= max_bytes:
        return False
    _shift(path, kept)
    shutil.copyfile(path, _older(path, 1))
    os.truncate(path, 0)
    return True


def log_tail(path: Path, *, lines: int = 15) -> str:
    """Return the last lines of a log, for a message that says why something failed; empty without a log."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            content = log.read(_TAIL_BYTES)
    except FileNotFoundError:
        return ""
    return "\n".join(content.decode("utf-8", "replace").splitlines()[-lines:])


def _older(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _shift(path: Path, kept: int) -> None:
    _older(path, kept).unlink(missing_ok=True)
    for number in range(kept - 1, 0, -1):
        if _older(path, number).exists():
            _older(path, number).rename(_older(path, number + 1))
