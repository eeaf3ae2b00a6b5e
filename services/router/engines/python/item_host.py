"""The process that calls a user's function, item by item, so that it can be killed and cannot block a heartbeat.

It runs as a bare script (`python -P item_host.py`) and imports nothing of the project: it starts in a few hundredths of
a second, and packages of the user may have any name. What user code prints goes to standard error.

Requests come on standard input: four bytes of length, big-endian, then JSON. `load` names a function; `slice` has items
for it, and the time after which no item may begin, by a clock that counts the time that the machine sleeps. Answers
leave on standard output: `ANSWER`, a kind, an item's position in its slice, when it began and ended in seconds of
`time.monotonic`, and how many bytes of content follow. Each item's answer leaves before the next item begins, so that a
death leaves no doubt about which ran.

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
import time

# The public one makes an enum of each answer, which would be half of what an item costs.
from _signal import getsignal  # type: ignore[import-not-found]
from atexit import _run_exitfuncs
from collections.abc import Awaitable, Callable, Coroutine
from faulthandler import cancel_dump_traceback_later
from operator import is_not
from os import _exit, getpid
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, RUSAGE_SELF, getrlimit, getrusage
from signal import SIG_IGN, SIGINT, setitimer
from signal import signal as set_handler
from time import clock_gettime, monotonic
from types import ModuleType
from typing import IO, Any

HEADER = struct.Struct(">I")
ANSWER = struct.Struct(">BIddI")

READY = 0
"""The host has started; content: its process id, as text."""
LOADED = 1
"""The function has been imported; position: 1 if it is a coroutine function, whose calls can run at once, else 0."""
SUCCEEDED = 2
"""Content: the output, as I-JSON text."""
FAILED = 3
"""Of an item, or of a load; content: JSON, `error_type` and `error_message`."""
OUTCOMES = frozenset((SUCCEEDED, FAILED))
OVER = 4
"""The slice is over; position: how many of its items have been answered; content: the peak of memory in bytes."""
BEGAN = 5
"""An item has begun: the first of those that run one by one, and each of several that run at once."""

MAX_OUTPUT_BYTES = 64 * 1024 * 1024
MAX_MESSAGE_CHARACTERS = 2000
MAX_OUTPUT_DEPTH = 61
"""A result lies three levels deep in its record, and the contract allows records 64 levels."""

_MAX_SAFE_INTEGER = 2**53 - 1

_OWN_DESCRIPTORS = 200
"""The host's own descriptors are above this, since user code may close low ones that it takes for its own."""

_SIGNALS = range(1, signal.NSIG)

_HELD_UP_SECONDS = 0.05
"""A write that takes longer has held up what runs beside it."""

_LEASE_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_UPTIME_RAW", time.CLOCK_MONOTONIC))
"""By which leases end: `shared.history.clock.SystemClock.monotonic`."""

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


_Failure = tuple[str, str]
"""Type and message of an error."""


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _value(function: Callable[[Any], Awaitable[Any]], item: Any) -> tuple[Any, _Failure | None]:
    """What a coroutine function returns, or how it failed; even a `sys.exit` ends its own item alone."""
    try:
        return await function(item), None
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is the item's failure
        return None, ("exception", describe(error))


def _output(value: Any) -> bytes | _Failure:
    """A value as text, or why it is no result."""
    try:
        output = encode(value)
    except NotJsonError as error:
        return "result_not_json", bounded(str(error))
    except BaseException as error:  # noqa: BLE001 - a container of the user's own raised while it was read
        return "result_not_json", describe(error)
    if len(output) > MAX_OUTPUT_BYTES:
        return "result_too_large", f"{len(output)} bytes; at most {MAX_OUTPUT_BYTES}"
    return output


class Host:
    """Calls functions, and keeps those that it has imported."""

    def __init__(self, border: Border) -> None:
        self._border = border
        self._functions: dict[str, Callable[[Any], Any]] = {}
        self._can_run_at_once: set[str] = set()
        self._runner = asyncio.Runner()

    def load(self, name: str) -> _Failure | None:
        """Import a function that is not yet known; why that failed."""
        if name in self._functions:
            return None
        self._border.cross()
        try:
            self._functions[name] = function = resolve(name)
            if inspect.iscoroutinefunction(function):
                self._can_run_at_once.add(name)
        except DeniedError as error:
            return "denied", bounded(str(error))
        except BaseException as error:  # noqa: BLE001 - user code: SystemExit at import is the item's failure, too
            return "exception", describe(error)
        finally:
            self._border.come_back()
        return None

    def call(self, name: str, item: Any) -> bytes | _Failure:
        """Call a function that was loaded: its output, or how it failed."""
        function = self._functions[name]
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
                    value = self._runner.run(_awaited(value))
            finally:
                sys.settrace(own_trace)
                if sys.getrecursionlimit() < recursion_limit:
                    sys.setrecursionlimit(recursion_limit)
                self._border.come_back()
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is the item's failure
            return "exception", describe(error)
        return _output(value)

    def can_run_at_once(self, name: str) -> bool:
        """Whether it is a coroutine function."""
        return name in self._can_run_at_once

    async def call_beside_others(
        self, name: str, item: Any, limit: float | None, held_up: Callable[[], float]
    ) -> bytes | _Failure:
        """Call a coroutine function, and cancel it after `limit` seconds; while all are held up no time passes."""
        # In a task of its own: user code may cancel it.
        call = asyncio.ensure_future(_value(self._functions[name], item))
        ends, held_up_before = None if limit is None else monotonic() + limit, held_up()
        await asyncio.wait({call}, timeout=limit)
        while ends is not None and not call.done() and (left := ends + held_up() - held_up_before - monotonic()) > 0:
            await asyncio.wait({call}, timeout=left)
        if not call.done():
            call.cancel()
            await asyncio.wait({call})
            return "timeout", f"it took longer than {limit:g} s"
        if call.cancelled():
            return "exception", "CancelledError: it cancelled itself"
        value, failure = call.result()
        return _output(value) if failure is None else failure

    def run(self, calls: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Run calls in an event loop, always the same: user code may keep clients that belong to it.

        Returns whether they have ended; else user code has broken the loop.
        """
        self._border.cross()
        try:
            self._runner.run(calls())
        except BaseException:  # noqa: BLE001 - whatever it was, the worker finds out whose fault
            return False
        finally:
            self._border.come_back()
        return True


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


def _read_frame(stream: IO[bytes]) -> bytes | None:
    header = stream.read(HEADER.size)
    return stream.read(HEADER.unpack(header)[0]) if len(header) == HEADER.size else None


class Conversation:
    """Requests and answers, by the two pipes."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes], host: Host) -> None:
        self._requests = requests
        self._answers = answers
        self._host = host
        self._pid = getpid()
        self._held_up_seconds = 0.0

    def hold(self) -> None:
        """Say that the host has started, then answer request by request until there are no more."""
        self._say(READY, f"{self._pid}".encode())
        while (frame := _read_frame(self._requests)) is not None:
            request = _from_json(frame.decode())
            if request.pop("ask") == "load":
                self._load(**request)
            else:
                self._slice(**request)

    def _load(self, function: str) -> None:
        failure = self._host.load(function)
        if failure is None:
            self._say(LOADED, position=int(self._host.can_run_at_once(function)))
        else:
            self._say_failed(failure, 0, 0.0, 0.0)

    def _slice(self, function: str, items: list[Any], not_after: float, at_once: int, limit: float | None) -> None:
        if at_once > 1:
            answered = self._at_once(function, items, not_after, at_once, limit)
        else:
            answered = self._one_by_one(function, items, not_after)
        self._say(OVER, f"{getrusage(RUSAGE_SELF).ru_maxrss * 1024}".encode(), answered)

    def _one_by_one(self, function: str, items: list[Any], not_after: float) -> int:
        answered = 0
        for position, item in enumerate(items):
            if clock_gettime(_LEASE_CLOCK) > not_after:
                break
            began = monotonic()
            if position == 0:
                self._say(BEGAN, began=began)
            self._answer(self._host.call(function, item), position, began)
            answered += 1
        return answered

    def _at_once(self, function: str, items: list[Any], not_after: float, at_once: int, limit: float | None) -> int:
        waiting = enumerate(items)
        answered = 0

        async def lane() -> None:
            nonlocal answered
            for position, item in waiting:
                if clock_gettime(_LEASE_CLOCK) > not_after:
                    return
                began = monotonic()
                self._say(BEGAN, position=position, began=began)
                outcome = await self._host.call_beside_others(function, item, limit, lambda: self._held_up_seconds)
                self._answer(outcome, position, began)
                answered += 1

        async def lanes() -> None:
            await asyncio.gather(*(lane() for _ in range(min(at_once, len(items)))))

        if not self._host.run(lanes):
            _exit(1)  # the worker runs those that were running again, one by one
        return answered

    def _answer(self, outcome: bytes | _Failure, position: int, began: float) -> None:
        ended = monotonic()
        if isinstance(outcome, bytes):
            self._say(SUCCEEDED, outcome, position, began, ended)
        else:
            self._say_failed(outcome, position, began, ended)

    def _say_failed(self, failure: _Failure, position: int, began: float, ended: float) -> None:
        error_type, message = failure
        content = _to_json({"error_type": error_type, "error_message": message}).encode()
        self._say(FAILED, content, position, began, ended)

    def _say(self, kind: int, content: bytes = b"", position: int = 0, began: float = 0.0, ended: float = 0.0) -> None:
        if getpid() != self._pid:  # user code has forked, and returned in the child, too: only the parent answers
            _exit(0)
        writing = monotonic()
        # In one write: a signal handler of user code may raise between two.
        self._answers.write(ANSWER.pack(kind, position, began, ended, len(content)) + content)
        self._answers.flush()
        if (took := monotonic() - writing) > _HELD_UP_SECONDS:
            self._held_up_seconds += took


def main() -> None:
    """Answer requests until standard input ends."""
    set_handler(SIGINT, SIG_IGN)
    requests, answers = _take_pipes()
    sys.path.insert(0, str(Path.cwd()))  # like `python -m`: the user's functions are imported from there
    Conversation(requests, answers, Host(Border())).hold()
    # Not by the end of the interpreter, which would wait for threads that user code has left.
    _run_exitfuncs()
    _exit(0)


if __name__ == "__main__":
    main()
