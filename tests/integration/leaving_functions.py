"""Functions that return, and leave something behind in their process. Each notes in a file that it had its effect."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import faulthandler
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


class WriteOnly:
    """Something that can be written to, and nothing else."""

    def write(self, text: str) -> int:
        """Forget it."""
        return len(text)


class Exits(WriteOnly):
    """Ends its process whenever it is flushed or asked whether it is closed."""

    def flush(self) -> NoReturn:
        """End."""
        raise SystemExit(3)

    @property
    def closed(self) -> NoReturn:
        """End."""
        raise KeyboardInterrupt


class Blocks(WriteOnly):
    """A flush that never returns."""

    def flush(self) -> None:
        """Wait for ever."""
        threading.Event().wait()


def _nobody(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError("replaced")


def _raises(*_: Any) -> NoReturn:
    raise SystemExit(7)


def _stdout_write_only() -> None:
    sys.stdout = WriteOnly()


def _stdout_none() -> None:
    sys.stdout = sys.stderr = None


def _stdout_gone() -> None:
    del sys.stdout, sys.stderr


def _stdout_closed() -> None:
    sys.stdout.close()
    sys.stderr.close()


def _stdout_detached() -> None:
    sys.stdout.detach()  # type: ignore[union-attr]


def _stdout_wrapped() -> None:
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")


def _stdout_exits() -> None:
    sys.stdout = sys.stderr = Exits()


def _stdout_blocks() -> None:
    sys.stdout = sys.stderr = Blocks()


def _own_flush_replaced() -> None:
    sys.stdout.flush = sys.stderr.flush = _raises  # type: ignore[method-assign]


def _descriptor_elsewhere() -> None:
    elsewhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(elsewhere, 1)
    os.dup2(elsewhere, 2)


def _descriptors_closed() -> None:
    print("not flushed", end="")  # noqa: T201 - so that there is something to flush
    os.closerange(0, 64)


def _print_replaced() -> None:
    builtins.print = builtins.open = _nobody


def _json_replaced() -> None:
    json.dumps = json.loads = _nobody


def _low_recursion_limit() -> None:
    for limit in range(1, 1000):  # the lowest that is possible here
        with contextlib.suppress(RecursionError):
            sys.setrecursionlimit(limit)
            return


def _alarm_to_come() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.2)


def _handler_that_exits() -> None:
    signal.signal(signal.SIGALRM, _raises)
    signal.signal(signal.SIGUSR1, _raises)
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.05)
    pid = os.getpid()

    def hit() -> None:
        for _ in range(20):
            time.sleep(0.02)
            os.kill(pid, signal.SIGUSR1)

    threading.Thread(target=hit, daemon=True).start()


def _watchdog_to_come() -> None:
    faulthandler.dump_traceback_later(0.2, exit=True)


def _traced() -> None:
    sys.settrace(_raises)


def _threads_at_work() -> None:
    def work() -> None:
        with contextlib.suppress(Exception):
            while True:
                print("still here")  # noqa: T201 - a thread that nobody has ended
                time.sleep(0.05)

    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()


def _elsewhere() -> None:
    os.chdir("/")
    os.environ.clear()


def _last_words() -> None:
    atexit.register(_raises)


LEAVINGS: dict[str, Callable[[], None]] = {
    function.__name__.lstrip("_"): function
    for function in (
        _stdout_write_only,
        _stdout_none,
        _stdout_gone,
        _stdout_closed,
        _stdout_detached,
        _stdout_wrapped,
        _stdout_exits,
        _stdout_blocks,
        _own_flush_replaced,
        _descriptor_elsewhere,
        _descriptors_closed,
        _print_replaced,
        _json_replaced,
        _low_recursion_limit,
        _alarm_to_come,
        _handler_that_exits,
        _watchdog_to_come,
        _traced,
        _threads_at_work,
        _elsewhere,
        _last_words,
    )
}


_OVER_SECONDS = 0.6
"""Timers, signals and threads that a function leaves here have come by then."""


def over_file(ran: Path) -> Path:
    """Made once all that was left has come."""
    return ran.with_name(f"{ran.name}.over")


def _note_when_over(path: str) -> None:
    time.sleep(_OVER_SECONDS)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))  # `open` may be replaced


def leave(item: list[str]) -> list[str]:
    """Note that it ran, leave what the item names, and return the item."""
    what, path = item
    with Path(path).open("a") as file:
        file.write("ran\n")
    threading.Thread(target=_note_when_over, args=(f"{path}.over",), daemon=True).start()
    LEAVINGS[what]()
    return item


def leave_a_thread(notes: str) -> None:
    """Leave a thread that never ends, and something to be done when the process does."""
    threading.Thread(target=threading.Event().wait).start()
    atexit.register(Path(notes).touch)


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit(5)


class _Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name == "__qualname__":
            raise SystemExit(6)
        return super().__getattribute__(name)


class _NamelessError(Exception, metaclass=_Nameless):
    pass


class _Trap(dict[str, Any]):
    def values(self) -> NoReturn:
        raise KeyboardInterrupt

    def __iter__(self) -> NoReturn:
        raise KeyboardInterrupt


def fail_unspeakably(_: Any) -> NoReturn:
    """Raise an error whose text ends the process that asks for it."""
    raise _Unspeakable


def fail_without_a_name(_: Any) -> NoReturn:
    """Raise an error whose type ends the process that asks for its name."""
    raise _NamelessError("told")


def return_what_has_no_name(_: Any) -> Any:
    """Return something that is no JSON, of such a type."""
    return _NamelessError()


def return_a_trap(_: Any) -> Any:
    """Return a container that ends the process that reads it."""
    return _Trap()


def wait_a_little(seconds: float) -> float:
    """Stay, so that what comes later comes now; print, too."""
    sys.stdout.write("waiting\n")
    time.sleep(seconds)
    return seconds


def stop_all(_: Any) -> None:
    """Stop this process and whatever shares its process group: the leash, too."""
    os.killpg(0, signal.SIGSTOP)


def end_by_signal(number: int) -> None:
    """End this process."""
    os.kill(os.getpid(), number)
