"""What a log line must not hold: secrets, and what people submitted or got."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from structlog.typing import EventDict

from shared.logs.exceptions import told

HIDDEN = "[hidden]"
MAX_TEXT = 4_000
"""Longer texts are cut, with a note of their length."""
MAX_DEPTH = 4
MAX_ENTRIES = 50
MAX_INTEGER_BITS = 63

_SECRET_NAME = re.compile(
    r"passw|secret|token|api_?key|authoriz|cookie|credential|private_key|(^|_)(key|auth)_?(file|data)$", re.IGNORECASE
)
_PAYLOAD_NAMES = frozenset(
    {"body", "data", "input", "item", "items", "options", "original", "output", "payload", "prompt", "results", "value"}
)
_URL_LOGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/@\s:]*:[^/@\s]*@", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_API_KEY = re.compile(r"\bsk-[A-Za-z0-9_-]{8,}")
# How pydantic quotes what it refused.
_REFUSED_INPUT = re.compile(r"input_value=.*?, input_type=", re.DOTALL)


def hide_private(_logger: object, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: hide values by their names, logins in URLs and the input that a validation quotes."""
    return {name: _shown(name, value, 0) for name, value in event.items()}


def _shown(name: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return _number(value)
    if _SECRET_NAME.search(name) or name in _PAYLOAD_NAMES:
        return HIDDEN
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _text(repr(type(value))) if depth >= MAX_DEPTH else _entries(value, depth + 1)
    if isinstance(value, BaseException):
        return _text(told(value))
    return _text(value if isinstance(value, str) else repr(value))


def _number(value: Any) -> Any:
    # What is larger no JSON serialiser takes.
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        return f"[integer of {value.bit_length()} bits]"
    return value


def _entries(value: Collection[Any], depth: int) -> Any:
    first = list(islice(value, MAX_ENTRIES))
    if isinstance(value, Mapping):
        return {_text(str(key)): _shown(str(key), value[key], depth) for key in first}
    shown = [_shown("", entry, depth) for entry in first]
    return [*shown, f"[{len(value) - MAX_ENTRIES} more]"] if len(value) > MAX_ENTRIES else shown


def _text(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()  # lone surrogates have no place in JSON
    text = _URL_LOGIN.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    text = _API_KEY.sub(HIDDEN, text)
    text = _REFUSED_INPUT.sub(f"input_value={HIDDEN}, input_type=", text)
    if len(text) <= MAX_TEXT:
        return text
    # The end as well: of a traceback it says what was raised last, and where.
    half = MAX_TEXT // 2
    return f"{text[:half]}… [{len(text)} characters] …{text[-half:]}"
