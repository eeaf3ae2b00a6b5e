"""Markers in a text, as `[[reply TEXT]]`, read as steps. docs/how-to/loopback.md describes them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping

from pydantic import JsonValue

from eldermesh.contract.ijson import parse_ijson
from services.claude_exec.loopback import steps

MAX_MARKERS = 1_000
MAX_FILL = 32 * 1024 * 1024
MAX_WAIT_SECONDS = 3_600.0
MAX_TOKENS = 10**9
MAX_RETRY_AFTER_SECONDS = 10**6
_STATUSES = range(400, 600)

_CLOSE = "]]"
_END = re.compile(r"\s*\]\]")
_WORD = re.compile(r"\s*([^\s\]]+)")
_QUOTED = re.compile(r'\s*"')
_DECODER = json.JSONDecoder()
_OPTION = re.compile(r'\s+([a-z_-]+)=(?:(?=")|([^\s"\]]+))')
_REASON = re.compile(r"[a-z_]{1,40}")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")


class MarkerError(ValueError):
    """A marker is wrong; the message says which and why."""


def read_markers(text: str) -> tuple[steps.Step, ...]:
    """The steps of all markers in `text`, in order. Other text, also `[[` before an unknown word, is ignored.

    Raises:
        MarkerError: a marker is not closed or has a wrong value, or all together exceed a limit.
    """
    read: list[steps.Step] = []
    position = 0
    while (found := _OPEN.search(text, position)) is not None:
        if len(read) == MAX_MARKERS:
            raise MarkerError(f"more than {MAX_MARKERS} markers")
        name = found[1]
        try:
            step, position = _READERS[name](text, found.end())
        except ValueError as error:
            raise MarkerError(f"[[{name} …]]: {error}") from error
        read.append(step)
    if sum(step.characters for step in read if isinstance(step, steps.Fill)) > MAX_FILL:
        raise MarkerError(f"[[bytes …]]: more than {MAX_FILL} characters in all")
    if sum(step.seconds for step in read if isinstance(step, steps.Wait)) > MAX_WAIT_SECONDS:
        raise MarkerError(f"[[delay …]]: more than {MAX_WAIT_SECONDS:g} s in all")
    return tuple(read)


def _closed(text: str, position: int) -> int:
    """The position after the `]]` that must follow here, perhaps after spaces."""
    found = _END.match(text, position)
    if found is None:
        raise ValueError("expected ]]")
    return found.end()


def _words(text: str, position: int) -> tuple[str, int]:
    """The text up to the next `]]`, stripped, and the position after it."""
    end = text.find(_CLOSE, position)
    if end < 0:
        raise ValueError("expected ]]")
    return text[position:end].strip(), end + len(_CLOSE)


def _json(text: str, position: int) -> tuple[JsonValue, int]:
    """The JSON value that starts at `position`, perhaps after spaces, and the position after it."""
    while text[position : position + 1].isspace():
        position += 1
    try:
        _, end = _DECODER.raw_decode(text, position)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    return parse_ijson(text[position:end].encode("utf-8", "replace")), end


def _options(text: str, position: int, allowed: frozenset[str]) -> tuple[dict[str, str], int]:
    """Options `name=value`, whose values are words or JSON strings, and the position after the marker."""
    options: dict[str, str] = {}
    while (found := _OPTION.match(text, position)) is not None:
        name = found[1]
        if name not in allowed:
            raise ValueError(f"no option {name!r}; there are {', '.join(sorted(allowed))}")
        if found[2] is None:
            value, position = _json(text, found.end())
        else:
            value, position = found[2], found.end()
        options[name] = str(value)
    return options, _closed(text, position)


def _whole(name: str, value: str | None, limit: int, *, least: int = 0) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,12}", value) or not least <= int(value) <= limit:
        raise ValueError(f"{name} is not a whole number from {least} to {limit}")
    return int(value)


def _times(options: Mapping[str, str]) -> int | None:
    return _whole("times", options.get("times"), 1_000_000, least=1)


def _first_word(text: str, position: int) -> tuple[str, int]:
    found = _WORD.match(text, position)
    if found is None:
        raise ValueError("says nothing")
    return found[1], found.end()


def _reply(text: str, position: int) -> tuple[steps.Step, int]:
    # A JSON string may contain `]]`.
    if _QUOTED.match(text, position):
        with contextlib.suppress(ValueError):  # then it is a plain text that starts with a quotation mark
            said, behind = _json(text, position)
            return steps.Reply(str(said)), _closed(text, behind)
    words, position = _words(text, position)
    return steps.Reply(words), position


def _structured(text: str, position: int) -> tuple[steps.Step, int]:
    value, position = _json(text, position)
    return steps.Structured(value), _closed(text, position)


def _fill(text: str, position: int) -> tuple[steps.Step, int]:
    word, position = _words(text, position)
    return steps.Fill(_whole("the number of characters", word, MAX_FILL) or 0), position


def _wait(text: str, position: int) -> tuple[steps.Step, int]:
    word, position = _first_word(text, position)
    seconds = float(word)
    if not 0.0 <= seconds <= MAX_WAIT_SECONDS:
        raise ValueError(f"seconds are not from 0 to {MAX_WAIT_SECONDS:g}")
    options, position = _options(text, position, frozenset({"times"}))
    return steps.Wait(seconds, _times(options)), position


def _refuse(text: str, position: int) -> tuple[steps.Step, int]:
    word, position = _first_word(text, position)
    status = _whole("the status", word, _STATUSES[-1], least=_STATUSES[0]) or 0
    options, position = _options(text, position, frozenset({"retry-after", "times", "message"}))
    retry_after = _whole("retry-after", options.get("retry-after"), MAX_RETRY_AFTER_SECONDS)
    return steps.Refuse(status, retry_after, _times(options), options.get("message")), position


def _tool(text: str, position: int) -> tuple[steps.Step, int]:
    name, position = _first_word(text, position)
    if not _TOOL_NAME.fullmatch(name):
        raise ValueError("this is no name of a tool")
    if (end := _END.match(text, position)) is not None:
        return steps.CallTool(name, {}), end.end()
    arguments, position = _json(text, position)
    if not isinstance(arguments, dict):
        raise MarkerError("the tool's input is no JSON object")
    return steps.CallTool(name, arguments), _closed(text, position)


def _usage(text: str, position: int) -> tuple[steps.Step, int]:
    names = ("input", "output", "cache-read", "cache-write")
    options, position = _options(text, position, frozenset(names))
    return steps.Usage(*(_whole(name, options.get(name), MAX_TOKENS) for name in names)), position


def _stop(text: str, position: int) -> tuple[steps.Step, int]:
    reason, position = _first_word(text, position)
    if not _REASON.fullmatch(reason):
        raise ValueError("this is no reason to stop")
    options, position = _options(text, position, frozenset({"times"}))
    return steps.Stop(reason, _times(options)), position


def _broken(how: steps.Break) -> Callable[[str, int], tuple[steps.Step, int]]:
    def read(text: str, position: int) -> tuple[steps.Step, int]:
        options, position = _options(text, position, frozenset({"times"}))
        return steps.BreakOff(how, _times(options)), position

    return read


_READERS: Mapping[str, Callable[[str, int], tuple[steps.Step, int]]] = {
    "reply": _reply,
    "json": _structured,
    "bytes": _fill,
    "delay": _wait,
    "status": _refuse,
    "tool": _tool,
    "usage": _usage,
    "stop": _stop,
    "stall": _broken("stall"),
    "drop": _broken("drop"),
    "malformed": _broken("malformed"),
}
_OPEN = re.compile(rf"\[\[({'|'.join(_READERS)})(?=\s|\]\])")
