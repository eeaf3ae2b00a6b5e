"""The process that calls a user's function, item by item, so that it can be killed and cannot block a heartbeat.

It runs as a bare script (`python -P item_host.py`) and imports nothing of the project: it starts in a few hundredths of
a second, and packages of the user may have any name. Frames come on standard input and leave on standard output: four
bytes of length, big-endian, then the content. A request is JSON; an answer is JSON, and, if it says `succeeded`, a
second frame with the output as I-JSON text. What user code prints goes to standard error.

User code may change anything: standard streams, descriptors, timers, signal handlers, modules. So the host takes what
it needs before user code runs, and sets aside what could disturb its own work (`Border`). A function that has returned
has succeeded, and is not called again.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import inspect
import io
import json
import math
import os
import signal
import struct
import sys
from collections.abc import Awaitable, Callable
from faulthandler import cancel_dump_traceback_later
from os import _exit, getpid
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, RUSAGE_SELF, getrlimit, getrusage
from signal import SIG_IGN, SIGINT, getsignal, setitimer
from signal import signal as set_handler
from types import ModuleType
from typing import IO, Any

HEADER = struct.Struct(">I")

MAX_OUTPUT_BYTES = 64 * 1024 * 1024
MAX_MESSAGE_CHARACTERS = 2000
MAX_OUTPUT_DEPTH = 61
"""A result lies three levels deep in its record, and the contract allows records 64 levels."""

_MAX_SAFE_INTEGER = 2**53 - 1

_OWN_DESCRIPTORS = 200
"""The host's own descriptors are above this, since user code may close low ones that it takes for its own."""

_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_from_json = json.JSONDecoder().decode


class NotJsonError(Exception):
    """The value cannot be written as I-JSON (RFC 7493)."""


class DeniedError(Exception):
    """The name leads to an object outside the allowed module."""


def encode(value: Any) -> bytes:
    """Write a value as I-JSON text.

    Raises:
        NotJsonError: it cannot be, or is nested deeper than `MAX_OUTPUT_DEPTH`.
    """
    _check(value, 0)
    return _to_json(value).encode()


def _check(value: Any, depth: int) -> None:
    """Refuse what `json` changes silently (names other than strings) and what other readers refuse."""
    if isinstance(value, (list, tuple, dict)):
        if depth == MAX_OUTPUT_DEPTH:
            raise NotJsonError(f"nested deeper than {MAX_OUTPUT_DEPTH}")
        if isinstance(value, dict):
            for name in value:
                if not isinstance(name, str):
                    raise NotJsonError(f"an object's name is of type {type(name).__qualname__}")
                _check_scalar(name)
            value = value.values()
        for element in value:
            _check(element, depth + 1)
    else:
        _check_scalar(value)


def _check_scalar(value: Any) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotJsonError("a string holds a lone surrogate") from None
    elif isinstance(value, int):
        if not -_MAX_SAFE_INTEGER <= value <= _MAX_SAFE_INTEGER:
            raise NotJsonError("an integer is outside ±(2^53 - 1)")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise NotJsonError(f"{value} is no JSON number")
    elif value is not None:
        raise NotJsonError(f"a value is of type {type(value).__qualname__}")


def describe(error: BaseException) -> str:
    """Return the type and message of an error, cut by `bounded`."""
    name = type(error).__qualname__
    try:
        text = f"{name}: {error}"
    except BaseException as unprintable:  # noqa: BLE001 - an exception whose text raises is described by its name
        text = f"{name} (its text raised {type(unprintable).__qualname__})"
    return bounded(text)


def bounded(text: str) -> str:
    """Cut a message to `MAX_MESSAGE_CHARACTERS`; lone surrogates become question marks."""
    if len(text) > MAX_MESSAGE_CHARACTERS:
        text = text[: MAX_MESSAGE_CHARACTERS - 1] + "…"
    return text.encode("utf-8", "replace").decode()


def resolve(name: str) -> Callable[[Any], Any]:
    """Import the function `module:qualname`.

    Raises:
        DeniedError: the name leads through another module, which the allow-list does not cover.
        Exception: whatever importing the user's module raises.
    """
    module_name, _, qualname = name.partition(":")
    target: Any = importlib.import_module(module_name)
    for part in qualname.split("."):
        target = getattr(target, part)
        if isinstance(target, ModuleType):
            raise DeniedError(f"{name} leads into another module, {target.__name__}")
    if not callable(target):
        raise TypeError(f"{name} is a {type(target).__qualname__}, which cannot be called")
    return target  # type: ignore[no-any-return]  # `callable` does not narrow it enough


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


class Host:
    """Answers requests, and keeps the functions that it has imported."""

    def __init__(self, border: Border) -> None:
        self._border = border
        self._functions: dict[str, Callable[[Any], Any]] = {}

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes | None]:
        """Do what a request asks for: `load` a function, or call it with an `item`."""
        name = request["function"]
        try:
            if name not in self._functions:
                self._border.cross()
                try:
                    self._functions[name] = resolve(name)
                finally:
                    self._border.come_back()
        except DeniedError as error:
            return _failed("denied", bounded(str(error))), None
        except BaseException as error:  # noqa: BLE001 - user code: SystemExit at import is the item's failure, too
            return _failed("exception", describe(error)), None
        if request["ask"] == "load":
            return {"status": "loaded"}, None
        return self._call(self._functions[name], request["item"])

    def _call(self, function: Callable[[Any], Any], item: Any) -> tuple[dict[str, Any], bytes | None]:
        own_trace, recursion_limit = self._border.own_trace, self._border.recursion_limit
        try:
            self._border.cross()
            try:
                value = function(item)
                # Inline, because a trace function or a low recursion limit would disturb any call.
                sys.settrace(own_trace)
                if sys.getrecursionlimit() < recursion_limit:
                    sys.setrecursionlimit(recursion_limit)
                if inspect.isawaitable(value):
                    value = asyncio.run(_awaited(value))
            finally:
                sys.settrace(own_trace)
                if sys.getrecursionlimit() < recursion_limit:
                    sys.setrecursionlimit(recursion_limit)
                self._border.come_back()
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is the item's failure
            return _failed("exception", describe(error)), None
        try:
            output = encode(value)
        except NotJsonError as error:
            return _failed("result_not_json", bounded(str(error))), None
        except BaseException as error:  # noqa: BLE001 - a container of the user's own raised while it was read
            return _failed("result_not_json", describe(error)), None
        if len(output) > MAX_OUTPUT_BYTES:
            return _failed("result_too_large", f"{len(output)} bytes; at most {MAX_OUTPUT_BYTES}"), None
        return {"status": "succeeded"}, output


def _failed(error_type: str, message: str) -> dict[str, Any]:
    return {"status": "failed", "error_type": error_type, "error_message": message}


def _peak_bytes() -> int:
    return getrusage(RUSAGE_SELF).ru_maxrss * 1024


def _kept(descriptor: int) -> int:
    """A copy of a descriptor for the host alone; programs that user code starts do not inherit it."""
    allowed, _ = getrlimit(RLIMIT_NOFILE)
    # `ulimit -n` may allow fewer; then in the upper half.
    lowest = _OWN_DESCRIPTORS if allowed == RLIM_INFINITY else min(_OWN_DESCRIPTORS, allowed // 2)
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
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
        for number in range(1, signal.NSIG):
            handler = getsignal(number)
            if callable(handler) and handler is not _pass_over:
                self._their_handlers[number] = handler
                set_handler(number, _pass_over)
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


def _read_frame(stream: IO[bytes]) -> bytes | None:
    header = stream.read(HEADER.size)
    return stream.read(HEADER.unpack(header)[0]) if len(header) == HEADER.size else None


def main() -> None:
    """Say `ready`, then answer request by request until standard input ends."""
    set_handler(SIGINT, SIG_IGN)
    requests, answers = _take_pipes()
    sys.path.insert(0, str(Path.cwd()))  # like `python -m`: the user's functions are imported from there
    own_pid = getpid()

    def say(answer: dict[str, Any], output: bytes | None = None) -> None:
        content = _to_json(answer | {"peak_bytes": _peak_bytes()}).encode()
        answers.write(HEADER.pack(len(content)) + content)
        if output is not None:
            answers.write(HEADER.pack(len(output)))
            answers.write(output)
        answers.flush()

    host = Host(Border())
    say({"status": "ready", "pid": own_pid})
    while (frame := _read_frame(requests)) is not None:
        answer, output = host.answer(_from_json(frame.decode()))
        if getpid() != own_pid:
            _exit(0)  # user code forked and returned in the child: only the parent answers
        say(answer, output)


if __name__ == "__main__":
    main()
