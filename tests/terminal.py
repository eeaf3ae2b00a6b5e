"""Run a command as a person does: standard output and standard error are a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class OnTerminal:
    """How it ended, and everything that the terminal was sent."""

    status: int
    shown: str


def run_on_terminal(command: Sequence[str], environment: Mapping[str, str], *, timeout: float = 120.0) -> OnTerminal:
    """Run it to its end."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while block := _read(ours):
                shown += block
            status = process.wait(timeout)
        finally:
            process.kill()
            os.close(ours)
    return OnTerminal(status, shown.decode("utf-8"))


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, _BLOCK_BYTES)
    except OSError:  # how Linux says that nobody holds the other end any more
        return b""
