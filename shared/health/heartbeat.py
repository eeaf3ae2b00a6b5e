"""The heartbeat of a process: a file that it writes again and again while it is at work.

A container's health check looks at the age of the file and at nothing else, so it costs little and is about this
container alone. This file imports nothing that takes time.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

VARIABLE: Final = "MESH_HEARTBEAT_FILE"

BEAT_SECONDS: Final = 2.0
"""Time between two heartbeats."""

STALE_SECONDS: Final = 20.0
"""A process without a heartbeat for so long stands still: ten were missed."""


class Heartbeat:
    """Writes the heartbeat; while `trouble` names one, it writes nothing.

    Args:
        file: is written; None: nothing is.
        trouble: why the process does not do its work now, though it runs; None if it does.
    """

    def __init__(self, file: Path | None, trouble: Callable[[], str | None] = lambda: None) -> None:
        self._file = file
        self._trouble = trouble
        self.failing: str | None = None
        """Why the last heartbeat was not written."""

    def beat(self) -> str | None:
        """Write it. Returns what is new to say: why it is not written from now on."""
        if self._file is None:
            return None
        failing = self._trouble()
        if failing is None:
            try:
                self._file.touch()
            except OSError as error:
                failing = f"{self._file} cannot be written: {error}"
        is_new = failing != self.failing
        self.failing = failing
        return failing if is_new else None

    def end(self) -> None:
        """Remove the file: this process works no more."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # then its age tells
                self._file.unlink()


def heartbeat_status() -> int | None:
    """The exit status of a health check by `MESH_HEARTBEAT_FILE`; None if that is not set.

    It is 0; or 1, once standard error has a line that says what is wrong.
    """
    file = os.environ.get(VARIABLE)
    if not file:
        return None
    try:
        age = time.time() - os.stat(file).st_mtime  # noqa: PTH116 - pathlib is not needed for it
    except OSError as error:
        sys.stderr.write(f"the process has not started, or has stopped: no heartbeat in {file} ({error.strerror})\n")
        return 1
    if age > STALE_SECONDS:
        sys.stderr.write(f"the process does not work: its last heartbeat in {file} is {age:.0f} s old; see its log\n")
        return 1
    return 0
