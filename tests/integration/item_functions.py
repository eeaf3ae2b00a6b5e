"""What the items of test jobs do."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from services.router.engines.python.item_host import frames

not_callable = 3


def double(item: Any) -> Any:
    """Twice the item."""
    return item * 2


async def double_later(item: Any) -> Any:
    """Twice the item, from a coroutine."""
    await asyncio.sleep(0)
    return item * 2


def sleep(seconds: float) -> str:
    """Sleep."""
    time.sleep(seconds)
    return "slept"


def large_when_told(directory: str) -> str:
    """Leave a file in a directory, wait there until the pipe `go` is open for writing, and return a large text.

    It waits in the kernel, for as long as its job's items may take.
    """
    place = Path(directory)
    (place / "runs").touch()
    with (place / "go").open("rb"):
        return "x" * 40_000


def hold_the_interpreter(seconds: float) -> float:
    """Keep the interpreter's lock for at least so long, in calls of C code that never give it back by themselves."""
    began = time.monotonic()
    size = 20_000_000
    while (took := time.monotonic() - began) < seconds:
        sum(range(size))
        size = min(size * 4, 400_000_000)
    return took


def fail(item: Any) -> None:
    """Raise."""
    raise ValueError(f"no {item}")


def fail_if_odd(number: int) -> int:
    """Raise for odd numbers."""
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def leave_if(status: int) -> int:
    """End the process at once, unless the status is 0."""
    if status:
        os._exit(status)
    return status


def leave(status: int) -> None:
    """End the process at once."""
    os._exit(status)


def crash_by_segfault(_: Any) -> None:
    """Read from address 0."""
    ctypes.string_at(0)


def crash_until(path: str) -> int:
    """End the process twice; the third time, return how often this ran. The count is in a file."""
    count = int(Path(path).read_text("ascii")) + 1 if Path(path).exists() else 1
    Path(path).write_text(str(count), encoding="ascii")
    if count < 3:
        os._exit(9)
    return count


def text_of(size: int) -> str:
    """A text of so many characters."""
    return "x" * size


def odd(name: str) -> Any:
    """Values that are no I-JSON."""
    deep: list[Any] = []
    for _ in range(61):
        deep = [deep]
    return {
        "nan": float("nan"),
        "large": 2**53,
        "names": {1: "one"},
        "set": {1},
        "surrogate": "\ud800",
        "deep": deep,
        "bytes": b"x",
    }[name]


def chatter(lines: int) -> str:
    """Print a lot, also where an answer would have to go."""
    for line in range(lines):
        print(f"line {line}")  # noqa: T201 - what is tested
    os.write(1, b"straight to descriptor 1\n")
    print("to standard error", file=sys.stderr)  # noqa: T201 - the same
    return sys.stdin.read()


def pid_of_host(path: str) -> int:
    """Write this process' pid, and that of a child in a session of its own, to a file; then wait."""
    child = subprocess.Popen(["sleep", "300"], start_new_session=True)
    unfinished = Path(path).with_suffix(".new")
    unfinished.write_text(f"{os.getpid()} {child.pid}", encoding="ascii")
    unfinished.rename(path)
    time.sleep(300)
    return 0


def until_let_go(path: str) -> str:
    """Make a file, then wait until there is another one beside it (`item_pids.let_go`)."""
    Path(path).touch()
    while not Path(f"{path}.go").exists():
        time.sleep(0.01)
    return "let go"


def own_pid(_: Any) -> int:
    """This process' pid."""
    return os.getpid()


def note(item: list[Any]) -> None:
    """Append a line to a file: `[path, text]`."""
    path, text = item
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def forge_the_end(item: int) -> int:
    """At the second item, tell the worker that the slice is over, by whatever pipes this process has kept."""
    if item == 2:
        for descriptor in range(200, 220):
            with contextlib.suppress(OSError):
                if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                    os.write(descriptor, frames.ANSWER.pack(frames.OVER, 7, 0.0, 0.0, 0))
        time.sleep(300)
    return item
