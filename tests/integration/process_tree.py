"""A program for tests of process ownership: `python -m tests.integration.process_tree PID_FILE [stubborn] [leave]`.

It starts a child, a child in a session of its own, and a child whose parent ends at once (as a daemon does), writes the
pids of all, its own first, then waits. `stubborn`: all of them ignore SIGTERM. `leave`: it ends by itself at SIGTERM,
the others do not.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_LIFE_SECONDS = 120  # so that a failed test leaves nothing for ever


def _fork(child: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            child()
        finally:
            os._exit(0)
    return pid


def _wait() -> None:
    signal.alarm(_LIFE_SECONDS)
    while True:
        signal.pause()


def _in_own_session() -> None:
    os.setsid()
    _wait()


def _daemon(write_end: int) -> None:
    os.setsid()
    os.write(write_end, f"{_fork(_wait)}\n".encode())


def main(pid_file: Path, *modes: str) -> None:
    """Start the tree and wait."""
    if modes:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    read_end, write_end = os.pipe()
    pids = [os.getpid(), _fork(_wait), _fork(_in_own_session)]
    os.waitpid(_fork(lambda: _daemon(write_end)), 0)
    pids.append(int(os.read(read_end, 64)))
    if "leave" in modes:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    unfinished = pid_file.with_suffix(".new")
    unfinished.write_text(" ".join(map(str, pids)), encoding="ascii")
    unfinished.rename(pid_file)
    _wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
