"""Checks the JSON Schema for the output of a `claude` job, in one walk in linear time.

The CLI compiles the schema with Ajv: draft 7, strict, so unknown keywords are errors. What Ajv would refuse is refused
here, before a CLI is started. No pattern is compiled and no reference is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote

from pydantic import JsonValue

from services.claude_exec.output_schema.keywords import PLAIN_KEYWORDS, why_unknown, wrong_names, wrong_property
from services.claude_exec.output_schema.patterns import wrong_pattern

MAX_SUBSCHEMAS: Final = 1_000
"""The CLI compiles so many in about a second; the time grows with the square of their number."""

MAX_DEPTH: Final = 64
MAX_STEPS_AT_ONE_VALUE: Final = 1_000
"""Schemas that one value may be checked against; references can double their number at each step."""

_SUBSCHEMAS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("properties", "patternProperties", "definitions", "$defs", "dependencies"), "map"),
    **dict.fromkeys(("allOf", "anyOf", "oneOf"), "list"),
    "items": "one or list",
    **dict.fromkeys(
        ("not", "if", "then", "else", "contains", "propertyNames", "additionalItems", "additionalProperties"), "one"
    ),
}
_OF_THE_SAME_VALUE: Final = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependencies"})
_SHOWN_CHARACTERS: Final = 60

_Pointer = tuple[str, ...]


class SchemaRefusedError(ValueError):
    """The schema cannot be used; the message says where, and why."""


def judge_output_schema(schema: Mapping[str, JsonValue]) -> None:
    """Check that the CLI can use a schema.

    Raises:
        SchemaRefusedError: it cannot, or not within the limits.
    """
    _Walk(schema).judge()


def for_cli(schema: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The schema for the CLI: without `$schema`, because its Ajv knows only draft 7."""
    return {keyword: value for keyword, value in schema.items() if keyword != "$schema"}


class _Walk:
    """The walk through one schema.

    `_same_value` has, for each subschema, the subschemas that are checked against the same value.
    """

    def __init__(self, schema: Mapping[str, JsonValue]) -> None:
        self._root = schema
        self._same_value: dict[_Pointer, list[_Pointer]] = {}
        self._references: list[tuple[_Pointer, str]] = []

    def judge(self) -> None:
        waiting: list[tuple[_Pointer, JsonValue]] = [((), dict(self._root))]
        while waiting:
            at, schema = waiting.pop()
            self._same_value[at] = []
            if len(self._same_value) > MAX_SUBSCHEMAS:
                raise SchemaRefusedError(f"more than {MAX_SUBSCHEMAS} subschemas")
            if len(at) > MAX_DEPTH:
                raise _refused(at, f"nested deeper than {MAX_DEPTH}")
            if isinstance(schema, bool):
                continue
            if not isinstance(schema, dict):
                raise _refused(at, "a schema is an object, true or false")
            waiting += self._judge_one(at, schema)
        self._resolve()
        self._weigh()

    def _judge_one(self, at: _Pointer, schema: Mapping[str, JsonValue]) -> list[tuple[_Pointer, JsonValue]]:
        """Check the keywords of one schema; return the schemas in it."""
        below: list[tuple[_Pointer, JsonValue]] = []
        for keyword, value in schema.items():
            if keyword in _SUBSCHEMAS:
                found = list(_subschemas(at, keyword, value))
                below += found
                if keyword in _OF_THE_SAME_VALUE:
                    self._same_value[at] += [where for where, _ in found]
            elif keyword == "$ref":
                if not isinstance(value, str):
                    raise _refused((*at, keyword), "must be text")
                self._references.append((at, value))
            elif (judge := PLAIN_KEYWORDS.get(keyword)) is None:
                raise _refused(at, f"keyword {_shown(keyword)}: {why_unknown(keyword)}")
            elif (wrong := judge(value)) is not None:
                raise _refused((*at, keyword), wrong)
        _judge_together(at, schema)
        return below

    def _resolve(self) -> None:
        for at, reference in self._references:
            if not reference.startswith("#"):
                raise _refused((*at, "$ref"), "only references into the schema itself are followed: #/…")
            target = tuple(part.replace("~1", "/").replace("~0", "~") for part in unquote(reference[1:]).split("/")[1:])
            if target not in self._same_value or (reference[1:] and not reference.startswith("#/")):
                raise _refused((*at, "$ref"), f"{_shown(reference)} is no schema in this one")
            self._same_value[at].append(target)

    def _weigh(self) -> None:
        """Count the schemas that each value may be checked against; refuse references that form a cycle."""
        weights: dict[_Pointer, int] = {}
        open_: set[_Pointer] = set()
        for start in self._same_value:
            path = [start]
            while path:
                at = path[-1]
                following = self._same_value[at]
                if at in weights:
                    path.pop()
                elif at in open_ and all(each in weights for each in following):
                    weights[at] = 1 + sum(weights[each] for each in following)
                    if weights[at] > MAX_STEPS_AT_ONE_VALUE:
                        raise _refused(at, f"one value is checked against more than {MAX_STEPS_AT_ONE_VALUE} schemas")
                    path.pop()
                else:
                    open_.add(at)
                    for each in following:
                        if each in weights:
                            continue
                        if each in open_:
                            raise _refused(each, "leads to itself without going into the value")
                        path.append(each)
                        break


def _subschemas(at: _Pointer, keyword: str, value: JsonValue) -> Iterator[tuple[_Pointer, JsonValue]]:
    """The schemas in a keyword's value."""
    place = (*at, keyword)
    kind = _SUBSCHEMAS[keyword]
    if kind == "map":
        yield from _named(place, keyword, value)
    elif isinstance(value, list) and kind in ("list", "one or list"):
        if not value:
            raise _refused(place, "must not be empty")
        yield from (((*place, str(number)), inner) for number, inner in enumerate(value))
    elif kind == "list":
        raise _refused(place, "must be an array")
    else:
        yield place, value


def _named(place: _Pointer, keyword: str, value: JsonValue) -> Iterator[tuple[_Pointer, JsonValue]]:
    if not isinstance(value, dict):
        raise _refused(place, "must be an object")
    for name, inner in value.items():
        if keyword == "patternProperties" and (wrong := wrong_pattern(name)) is not None:
            raise _refused(place, f"the pattern {_shown(name)} {wrong}")
        if keyword in {"properties", "dependencies"} and (wrong := wrong_property(name)) is not None:
            raise _refused(place, wrong)
        if keyword != "dependencies" or not isinstance(inner, list):
            yield (*place, name), inner
        elif (unfit := wrong_names(inner)) is not None:
            raise _refused((*place, name), unfit)


def _judge_together(at: _Pointer, schema: Mapping[str, JsonValue]) -> None:
    """Check the keywords that need another keyword."""
    if at and "$schema" in schema:
        raise _refused(at, "$schema: only at the top")
    if at and "$id" in schema:
        raise _refused(at, "$id: only at the top")
    if "additionalItems" in schema and not isinstance(schema.get("items"), list):
        raise _refused(at, "additionalItems means nothing unless items is an array")
    if "if" in schema and not ("then" in schema or "else" in schema):
        raise _refused(at, "if means nothing without then or else")
    if "if" not in schema and ("then" in schema or "else" in schema):
        raise _refused(at, "then and else mean nothing without if")
    if "nullable" in schema and "type" not in schema:
        raise _refused(at, "nullable means nothing without type")


def _refused(at: _Pointer, why: str) -> SchemaRefusedError:
    path = "/".join(_shown(step) for step in at[-3:])
    return SchemaRefusedError(f"{'…/' if len(at) > 3 else ''}{path}: {why}" if at else why)  # noqa: PLR2004 - as above


def _shown(text: str) -> str:
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text[:_SHOWN_CHARACTERS])
    return shown if len(text) <= _SHOWN_CHARACTERS else f"{shown}…"
