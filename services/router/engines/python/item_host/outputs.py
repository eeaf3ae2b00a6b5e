"""Outputs as I-JSON text, and errors as messages."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_MESSAGE_CHARACTERS = 2000
MAX_OUTPUT_DEPTH = 61
"""A result lies three levels deep in its record, and the contract allows records 64 levels."""

_MAX_SAFE_INTEGER = 2**53 - 1

_qualname = type.__dict__["__qualname__"].__get__

to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class NotJsonError(Exception):
    """The value cannot be written as I-JSON (RFC 7493)."""


def encode(value: Any) -> bytes:
    """Write a value as I-JSON text.

    Raises:
        NotJsonError: it cannot be, or is nested deeper than `MAX_OUTPUT_DEPTH`.
    """
    _check(value, 0)
    return to_json(value).encode()


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
    # By `type` itself: a class of user code may have a metaclass that answers otherwise, or raises.
    name = _qualname(type(error))
    try:
        text = f"{name}: {error}"
    except BaseException as unprintable:  # noqa: BLE001 - an exception whose text raises is described by its name
        text = f"{name} (its text raised {_qualname(type(unprintable))})"
    return bounded(text)


def bounded(text: str) -> str:
    """Cut a message to `MAX_MESSAGE_CHARACTERS`; lone surrogates become question marks."""
    if len(text) > MAX_MESSAGE_CHARACTERS:
        text = text[: MAX_MESSAGE_CHARACTERS - 1] + "…"
    return text.encode("utf-8", "replace").decode()
