"""The keywords of draft 7 without schemas in their values, and a check of each value in linear time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from eldermesh.contract.canonical import canonical_bytes
from services.claude_exec.output_schema.patterns import wrong_pattern

MAX_ENUM_VALUES: Final = 5_000
MAX_ENUM_OBJECTS: Final = 500
"""Objects and arrays of an `enum`: the CLI compares all pairs."""

_DIALECTS: Final = frozenset(
    f"{scheme}://json-schema.org/{draft}/schema"
    for scheme in ("http", "https")
    for draft in ("draft-04", "draft-06", "draft-07", "draft/2019-09", "draft/2020-12")
)
_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def _dialect(value: JsonValue) -> str | None:
    if not isinstance(value, str):
        return "must be text"
    return None if value.removesuffix("#") in _DIALECTS else "no dialect that is known here; leave it out"


def _text(value: JsonValue) -> str | None:
    return None if isinstance(value, str) else "must be text"


def _truth(value: JsonValue) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _number(value: JsonValue) -> str | None:
    return None if isinstance(value, int | float) and not isinstance(value, bool) else "must be a number"


def _positive(value: JsonValue) -> str | None:
    return _number(value) or (None if isinstance(value, int | float) and value > 0 else "must be above 0")


def _size(value: JsonValue) -> str | None:
    is_whole = (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )
    return None if is_whole and isinstance(value, int | float) and value >= 0 else "must be a whole number from 0 on"


def _type(value: JsonValue) -> str | None:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name in _TYPES for name in names):
        return f"must be of {', '.join(sorted(_TYPES))}"
    return _distinct(names)


_OF_EVERY_OBJECT: Final = frozenset(
    {
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
        "__proto__",
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
    }
)


def wrong_names(value: JsonValue) -> str | None:
    """Why a value is not a list of different names; None if it is."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return "must be an array of names"
    return next(filter(None, (wrong_property(name) for name in value if isinstance(name, str))), None) or _distinct(
        value
    )


def wrong_property(name: str) -> str | None:
    """Why the CLI cannot check a property of this name: JavaScript objects always have it. None if it can."""
    return f"{name}: every object of JavaScript has one, so the CLI cannot tell" if name in _OF_EVERY_OBJECT else None


def _values(value: JsonValue) -> str | None:
    if not isinstance(value, list) or not value:
        return "must be an array of at least one value"
    if len(value) > MAX_ENUM_VALUES:
        return f"more than {MAX_ENUM_VALUES} values"
    if sum(isinstance(each, dict | list) for each in value) > MAX_ENUM_OBJECTS:
        return f"more than {MAX_ENUM_OBJECTS} objects and arrays"
    return _distinct(value)


def _distinct(values: Sequence[JsonValue]) -> str | None:
    """Compares canonical forms in a set, because comparing all pairs takes quadratic time."""
    return None if len({canonical_bytes(value) for value in values}) == len(values) else "two are the same"


def _list(value: JsonValue) -> str | None:
    return None if isinstance(value, list) else "must be an array"


def _anything(value: JsonValue) -> str | None:  # noqa: ARG001 - one of many judges
    return None


def _pattern(value: JsonValue) -> str | None:
    return wrong_pattern(value) if isinstance(value, str) else "must be text"


PLAIN_KEYWORDS: Final[Mapping[str, Callable[[JsonValue], str | None]]] = {
    "$schema": _dialect,
    "type": _type,
    "enum": _values,
    "required": wrong_names,
    "pattern": _pattern,
    "multipleOf": _positive,
    "examples": _list,
    **dict.fromkeys(("const", "default", "$vocabulary"), _anything),
    **dict.fromkeys(
        ("$id", "$comment", "title", "description", "format", "contentMediaType", "contentEncoding"), _text
    ),
    **dict.fromkeys(("uniqueItems", "readOnly", "writeOnly", "deprecated", "nullable"), _truth),
    **dict.fromkeys(("maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum"), _number),
    **dict.fromkeys(("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"), _size),
}

_IN_DRAFT_7: Final[Mapping[str, str]] = {
    "id": "write $id",
    "prefixItems": "write items as an array",
    "dependentRequired": "write dependencies",
    "dependentSchemas": "write dependencies",
    "$anchor": "refer to the place: #/$defs/…",
    "$dynamicRef": "write $ref",
    "$recursiveRef": "write $ref",
}


def why_unknown(keyword: str) -> str:
    """Why a keyword is refused, and what to write instead."""
    said = _IN_DRAFT_7.get(keyword)
    return "draft 7, which the CLI checks by, does not know it" + ("" if said is None else f"; {said}")
