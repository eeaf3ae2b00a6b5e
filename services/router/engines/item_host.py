"""The process that calls a user's function, item by item, so that work can be killed and never starves a heartbeat.

It runs as a bare script (`python -P item_host.py`) and imports nothing of the project: it starts in a few hundredths of
a second, and packages of the user may have any name. Frames come on standard input and leave on standard output: four
bytes of length, big-endian, then the content. A request is JSON; an answer is JSON, and, if it says `succeeded`, a
second frame with the output as I-JSON text. What user code prints goes to standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import math
import os
import resource
import signal
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import IO, Any

HEADER = struct.Struct(">I")

MAX_OUTPUT_BYTES = 64 * 1024 * 1024
MAX_MESSAGE_CHARACTERS = 2000
MAX_OUTPUT_DEPTH = 61
"""A result lies three levels deep in its record, and records may have 64 (the contract's I-JSON)."""

_MAX_SAFE_INTEGER = 2**53 - 1


class NotJsonError(Exception):
    """The value cannot be written as I-JSON (RFC 7493)."""


class DeniedError(Exception):
    """The name leads out of the module that was allowed."""


def encode(value: Any) -> bytes:
    """Write a value as I-JSON text.

    Raises:
        NotJsonError: it is none, or nested deeper than `MAX_OUTPUT_DEPTH`.
    """
    _check(value, 0)
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _check(value: Any, depth: int) -> None:
    """Refuse what `json` would change silently (names that are no strings) or what other readers would refuse."""
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
    """Return the error's type and message, bounded, and fit for UTF-8."""
    name = type(error).__qualname__
    try:
        text = f"{name}: {error}"
    except Exception as unprintable:  # noqa: BLE001 - an exception whose text raises is still described by its name
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
        DeniedError: the way to it leads through another module, which the allow-list does not speak of.
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
    return target  # type: ignore[no-any-return]  # whatever it is, it can be called


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


class Host:
    """Answers requests; the functions it has imported stay."""

    def __init__(self) -> None:
        self._functions: dict[str, Callable[[Any], Any]] = {}

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes | None]:
        """Do what a request asks for: `load` a function, or call it with an `item`."""
        name = request["function"]
        try:
            if name not in self._functions:
                self._functions[name] = resolve(name)
        except DeniedError as error:
            return _failed("denied", bounded(str(error))), None
        except BaseException as error:  # noqa: BLE001 - user code: SystemExit at import is the item's failure, too
            return _failed("exception", describe(error)), None
        if request["ask"] == "load":
            return {"status": "loaded"}, None
        return self._call(self._functions[name], request["item"])

    @staticmethod
    def _call(function: Callable[[Any], Any], item: Any) -> tuple[dict[str, Any], bytes | None]:
        try:
            value = function(item)
            if inspect.isawaitable(value):
                value = asyncio.run(_awaited(value))
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is the item's failure
            return _failed("exception", describe(error)), None
        try:
            output = encode(value)
        except NotJsonError as error:
            return _failed("result_not_json", bounded(str(error))), None
        except Exception as error:  # noqa: BLE001 - a container of the user's own raised while it was read
            return _failed("result_not_json", describe(error)), None
        if len(output) > MAX_OUTPUT_BYTES:
            return _failed("result_too_large", f"{len(output)} bytes; at most {MAX_OUTPUT_BYTES}"), None
        return {"status": "succeeded"}, output


def _failed(error_type: str, message: str) -> dict[str, Any]:
    return {"status": "failed", "error_type": error_type, "error_message": message}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _take_standard_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the two pipes for frames alone: user code reads nothing, and prints to standard error."""
    requests, answers = os.dup(0), os.dup(1)  # not inherited by what user code executes
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]  # a text file
    return os.fdopen(requests, "rb"), os.fdopen(answers, "wb")


def _read_frame(stream: IO[bytes]) -> bytes | None:
    header = stream.read(HEADER.size)
    return stream.read(HEADER.unpack(header)[0]) if len(header) == HEADER.size else None


def main() -> None:
    """Say `ready`, then answer request by request until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = _take_standard_streams()
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it: what the user's functions are imported from
    own_pid = os.getpid()

    def say(answer: dict[str, Any], output: bytes | None = None) -> None:
        content = json.dumps(answer | {"peak_bytes": _peak_bytes()}).encode()
        answers.write(HEADER.pack(len(content)) + content)
        if output is not None:
            answers.write(HEADER.pack(len(output)))
            answers.write(output)
        answers.flush()

    host = Host()
    say({"status": "ready", "pid": own_pid})
    while (frame := _read_frame(requests)) is not None:
        answer, output = host.answer(json.loads(frame))
        if os.getpid() != own_pid:
            os._exit(0)  # user code forked and came back: the answer is the parent's to give
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # user code closed it
                stream.flush()
        say(answer, output)


if __name__ == "__main__":
    main()
