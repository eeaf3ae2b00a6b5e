"""The one parse function for JSON from outside: I-JSON (RFC 7493) of bounded depth, without duplicate names."""

from __future__ import annotations

import gc
import json
import re
import threading
from typing import Any, NoReturn, cast

from pydantic import JsonValue

from eldermesh.contract.canonical import canonical_bytes

MAX_DEPTH = 64
"""Deepest nesting of arrays and objects that is read (the outermost one counts as 1)."""

MAX_SAFE_INTEGER = 2**53 - 1
"""Largest integer that every JSON reader agrees on (RFC 7493, section 2.2)."""

_LONGEST_WHOLE_DOUBLE = len("-100000000000000000000")
"""The canonical form writes larger numbers with an exponent."""


class UndecodableJsonError(ValueError):
    """The bytes are no I-JSON; the record that carries them is dead-lettered."""


def parse_ijson(raw: bytes, *, whole_doubles: bool = False) -> JsonValue:
    """Parse `raw` as I-JSON (RFC 7493) of a depth of at most `MAX_DEPTH`.

    Args:
        raw: the bytes.
        whole_doubles: for what the mesh has written: the canonical form (RFC 8785) writes the float 1e20 as
            100000000000000000000, so integers beyond ±(2^53 - 1) that are such a form are read as floats.

    Raises:
        UndecodableJsonError: not UTF-8, not JSON, a duplicate name, a number that a double cannot hold exactly or at
            all (NaN, Infinity, 1e400, integers beyond ±(2^53 - 1)), a lone surrogate, or nested too deeply.
    """
    text = _text_of(raw)
    value = _loads(
        text,
        object_pairs_hook=_object_without_duplicates,
        parse_int=_safe_integer_or_double if whole_doubles else _safe_integer,
        parse_float=_finite_float,
    )
    if "\\u" in text:
        _check_surrogates(value)
    return cast("JsonValue", value)


def _text_of(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UndecodableJsonError(f"not UTF-8: {error.reason} at byte {error.start}") from error
    if text.startswith("\ufeff"):
        raise UndecodableJsonError("starts with a byte order mark")
    return text


def _loads(text: str, **hooks: Any) -> Any:
    _check_depth(text)
    try:
        return json.loads(text, parse_constant=_no_constant, **hooks)
    except json.JSONDecodeError as error:
        raise UndecodableJsonError(f"not JSON: {error.msg} at character {error.pos}") from error


def check_ijson(raw: bytes) -> None:
    """Refuse what `parse_ijson` refuses, without most of the value, which takes many times the room of a large text.

    Raises:
        UndecodableJsonError: as from `parse_ijson`; not one value, too.
    """
    text = _text_of(raw)
    with NO_COLLECTIONS:
        _loads(text, object_pairs_hook=_checked_object, parse_int=_checked_integer, parse_float=_checked_float)
        if _SURROGATE_ESCAPE.search(text):
            parse_ijson(raw)


class _NoCollections:
    """While any thread is in it, no garbage is collected.

    Of millions of small arrays a parse is one call in C, which no other thread interrupts. Collections would make it
    last eight times as long, longer than a lease, and find nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._were_on = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._threads:
                self._were_on = gc.isenabled()
                gc.disable()
            self._threads += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads and self._were_on:
                gc.enable()


NO_COLLECTIONS = _NoCollections()


_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89abAB]|\\u[dD][c-fC-F]")

_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]|"', re.DOTALL)
"""A whole string, a bracket, or the quote of a string that never ends (scanning on from there would be quadratic)."""


def _check_depth(text: str) -> None:
    """Scan for nesting first, because the standard library answers deep nesting with a RecursionError."""
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        character = text[match.start()]
        if character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise UndecodableJsonError(f"nested deeper than {MAX_DEPTH}")
        elif character in "]}":
            depth -= 1
        elif match.end() - match.start() == 1:
            return


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise UndecodableJsonError(f"duplicate name {name[:80]!r}")
            seen.add(name)
    return value


def _checked_object(pairs: list[tuple[str, Any]]) -> None:
    _object_without_duplicates(pairs)


def _checked_integer(literal: str) -> None:
    _safe_integer(literal)


def _checked_float(literal: str) -> None:
    _finite_float(literal)


def _safe_integer(literal: str) -> int:
    # Longer literals are out of range anyway, and int() refuses or slows down on thousands of digits.
    if len(literal) <= len(str(-MAX_SAFE_INTEGER)):
        value = int(literal)
        if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
            return value
    raise UndecodableJsonError(f"integer {literal[:24]} is outside ±(2^53 - 1)")


def _safe_integer_or_double(literal: str) -> int | float:
    if len(literal) <= _LONGEST_WHOLE_DOUBLE:
        value = float(literal)
        if abs(value) > MAX_SAFE_INTEGER and canonical_bytes(value) == literal.encode():
            return value
    return _safe_integer(literal)


def _finite_float(literal: str) -> float:
    value = float(literal)
    if value in (float("inf"), float("-inf")):
        raise UndecodableJsonError(f"number {literal[:24]} is too large for a double")
    return value


def _no_constant(literal: str) -> NoReturn:
    raise UndecodableJsonError(f"{literal} is not JSON")


def _check_surrogates(value: JsonValue) -> None:
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UndecodableJsonError("a string holds a lone surrogate") from error
    elif isinstance(value, list):
        for element in value:
            _check_surrogates(element)
    elif isinstance(value, dict):
        for name, element in value.items():
            _check_surrogates(name)
            _check_surrogates(element)
