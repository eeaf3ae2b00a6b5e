"""The border between the host's own code and user code in the same process."""

from __future__ import annotations

import fcntl
import io
import os
import signal
import sys

# The public one makes an enum of each answer, which would be half of what an item costs.
from _signal import getsignal  # type: ignore[import-not-found]
from faulthandler import cancel_dump_traceback_later
from operator import is_not
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from signal import setitimer
from signal import signal as set_handler
from typing import IO, Any

_OWN_DESCRIPTORS = 200
"""The host's own descriptors are above this, since user code may close low ones that it takes for its own."""

_SIGNALS = range(1, signal.NSIG)


def _kept(descriptor: int) -> int:
    """A copy of a descriptor for the host alone; programs that user code starts do not inherit it."""
    allowed, _ = getrlimit(RLIMIT_NOFILE)
    # `ulimit -n` may allow fewer; then in the upper half.
    lowest = _OWN_DESCRIPTORS if allowed == RLIM_INFINITY else min(_OWN_DESCRIPTORS, allowed // 2)
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)


def take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the two pipes for frames: user code reads nothing, and prints to standard error."""
    requests, answers = _kept(0), _kept(1)
    os.dup2(2, 1)
    _open_nothing()
    return open(requests, "rb"), open(answers, "wb")  # noqa: PTH123 - descriptors, for as long as this runs


def _open_nothing() -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    if nothing != 0:
        os.dup2(nothing, 0)
        os.close(nothing)


class Border:
    """Separates the host's own code from user code in the same process.

    Attributes:
        own_trace: the trace function of the host itself (a debugger's, a coverage tool's).
        recursion_limit: what the host itself needs; user code may have more, and keeps it.
    """

    def __init__(self) -> None:
        self.own_trace = sys.gettrace()
        self._own_profile = sys.getprofile()
        self.recursion_limit = sys.getrecursionlimit()
        self._their_handlers: dict[int, Any] = {}
        self._handlers: list[Any] = [None] * len(_SIGNALS)
        self._printed = _kept(2)
        self._streams = {"stdout": _text_stream(1), "stderr": _text_stream(2)}
        self._put_streams()

    def cross(self) -> None:
        """Call before user code: restores its signal handlers."""
        for number, handler in self._their_handlers.items():
            set_handler(number, handler)

    def come_back(self) -> None:
        """Call after user code: sets aside what could disturb the host, and restores the streams."""
        sys.settrace(self.own_trace)
        if sys.getrecursionlimit() < self.recursion_limit:
            sys.setrecursionlimit(self.recursion_limit)
        sys.setprofile(self._own_profile)
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            setitimer(timer, 0.0)
        cancel_dump_traceback_later()
        self._their_handlers = {}
        handlers = list(map(getsignal, _SIGNALS))
        if any(map(is_not, handlers, self._handlers)):  # by identity: comparing would call user code
            for number, handler in zip(_SIGNALS, handlers, strict=True):
                if callable(handler) and handler is not _pass_over:
                    self._their_handlers[number] = handler
                    set_handler(number, _pass_over)
            self._handlers = list(map(getsignal, _SIGNALS))
        self._put_streams()

    def _put_streams(self) -> None:
        """Send what user code prints to standard error.

        A descriptor is opened again only if it is closed: another file there is in use.
        """
        if not _is_open(0):
            _open_nothing()
        for name, number in (("stdout", 1), ("stderr", 2)):
            if not _is_open(number):
                os.dup2(self._printed, number)
            try:
                io.TextIOWrapper.flush(self._streams[name])
            except (OSError, ValueError):  # it was closed or detached
                self._streams[name] = _text_stream(number)
            setattr(sys, name, self._streams[name])


def _text_stream(descriptor: int) -> io.TextIOWrapper:
    """Text, line by line, to a descriptor that outlives the stream."""
    binary = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
    return io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _pass_over(*_: Any) -> None:
    """Replaces a signal handler of user code while that does not run."""
