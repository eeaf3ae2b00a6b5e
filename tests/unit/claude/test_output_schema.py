"""Schemas of outputs: what the CLI can do is accepted, all else refused, and neither takes long."""

from __future__ import annotations

import time
from typing import Any

import pytest

from services.claude_exec.options import ClaudeOptions
from services.claude_exec.output_schema.judge import for_cli
from services.claude_exec.output_schema.patterns import wrong_pattern
from shared.errors import DeadLetterError

LONGEST_SECONDS = 2.0
"""On a busy machine; a quiet one needs a twentieth of it."""


def schema(**fields: Any) -> dict[str, Any]:
    """A schema of objects."""
    return {"type": "object"} | fields


def of_a(value: Any, **fields: Any) -> dict[str, Any]:
    """A schema of objects with one property."""
    return schema(properties={"a": value}, **fields)


def _deep(times: int) -> dict[str, Any]:
    deep: dict[str, Any] = {}
    for _ in range(times):
        deep = {"not": deep}
    return deep


def _doubling(times: int) -> dict[str, Any]:
    steps = {f"d{step}": {"allOf": [{"$ref": f"#/$defs/d{step + 1}"}] * 2} for step in range(times)}
    return of_a({"$ref": "#/$defs/d0"}, **{"$defs": {**steps, f"d{times}": {"type": "string"}}})


ACCEPTED: dict[str, dict[str, Any]] = {
    "of pydantic": of_a(
        {"$ref": "#/$defs/A", "description": "x"},
        **{"$defs": {"A": {"type": "string", "title": "A"}}, "title": "T", "required": ["a"]},
    ),
    "of zod": of_a({"type": "boolean"}, **{"$schema": "https://json-schema.org/draft/2020-12/schema"}),
    "draft 7": of_a(
        {"if": {"type": "string"}, "then": {"minLength": 1}}, **{"$schema": "http://json-schema.org/draft-07/schema#"}
    ),
    "a tree": schema(properties={"children": {"type": "array", "items": {"$ref": "#"}}}),
    "a reference in escapes": of_a({"$ref": "#/$defs/~1%41~0"}, **{"$defs": {"/A~": {"type": "string"}}}),
    "any format": of_a({"type": "string", "format": "nonsense"}),
    "a tuple": of_a({"type": "array", "items": [{"type": "string"}], "additionalItems": False}),
    "patterns of JavaScript": of_a({"type": "string", "pattern": r"^(?<name>\p{L}+)(?<!x)\k<name>$"}),
    "nullable": of_a({"type": "string", "nullable": True}),
    "dependencies": schema(dependencies={"a": ["b"], "c": {"required": ["d"]}}),
    "a long enum": of_a({"enum": [f"country {number}" for number in range(3000)]}),
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a dialect that is no text": (schema(**{"$schema": 7}), "$schema: must be text"),
    "an unknown dialect": (schema(**{"$schema": "https://example.org/my"}), "$schema: no dialect"),
    "an unknown keyword": (schema(**{"x-note": 1}), "keyword x-note: draft 7"),
    "a keyword of 2019": (schema(unevaluatedProperties=False), "keyword unevaluatedProperties: draft 7"),
    "a keyword of 2020": (
        of_a({"prefixItems": [{}]}),
        "prefixItems: draft 7, which the CLI checks by, does not know it",
    ),
    "a keyword of draft 4": (schema(id="x"), "write $id"),
    "draft 4's bounds": (of_a({"minimum": 1, "exclusiveMinimum": True}), "exclusiveMinimum: must be a number"),
    "a type that is none": (of_a({"type": "text"}), "type: must be of"),
    "a number for a schema": (of_a(1), "a: a schema is an object, true or false"),
    "a list for properties": (schema(properties=[]), "properties: must be an object"),
    "an object for anyOf": (of_a({"anyOf": {}}), "anyOf: must be an array"),
    "an empty anyOf": (of_a({"anyOf": []}), "anyOf: must not be empty"),
    "if alone": (of_a({"if": True}), "if means nothing"),
    "then alone": (of_a({"then": True}), "then and else mean nothing without if"),
    "nullable alone": (of_a({"nullable": True}), "nullable means nothing without type"),
    "further items of a list": (of_a({"items": {}, "additionalItems": False}), "additionalItems means nothing"),
    "a dialect below": (of_a({"$schema": "http://json-schema.org/draft-07/schema#"}), "$schema: only at the top"),
    "a name below": (of_a({"$id": "https://example.org/a.json"}), "$id: only at the top"),
    "a negative length": (of_a({"minLength": -1}), "minLength: must be a whole number"),
    "not whole": (of_a({"maxItems": 1.5}), "maxItems: must be a whole number"),
    "multiples of nothing": (of_a({"multipleOf": 0}), "multipleOf: must be above 0"),
    "required that is text": (schema(required="n"), "required: must be an array of names"),
    "required twice": (schema(required=["a", "a"]), "required: two are the same"),
    "equal numbers": (of_a({"enum": [1, 1.0]}), "enum: two are the same"),
    "an empty enum": (of_a({"enum": []}), "enum: must be an array of at least one value"),
    "an enum of objects": (schema(enum=[{"a": number} for number in range(6000)]), "enum: more than 5000 values"),
    "an enum of lists": (schema(enum=[[number] for number in range(4000)]), "enum: more than 500 objects"),
    "a remote reference": (of_a({"$ref": "https://example.org/a.json"}), "$ref: only references into the schema"),
    "a reference to nothing": (of_a({"$ref": "#/$defs/nope"}), "#/$defs/nope is no schema in this one"),
    "a reference to a value": (of_a({"$ref": "#/properties/a/default", "default": {}}), "is no schema in this one"),
    "a reference that is a number": (of_a({"$ref": 1}), "$ref: must be text"),
    "a circle": (schema(**{"$ref": "#"}), "leads to itself"),
    "a longer circle": (
        of_a({"$ref": "#/$defs/a"}, **{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}}),
        "leads to itself",
    ),
    "references that double": (_doubling(60), "one value is checked against more than 1000 schemas"),
    "deep schemas": (of_a(_deep(65)), "nested deeper than 64"),
    "many schemas": (schema(properties={f"p{number}": {} for number in range(4000)}), "more than 1000 subschemas"),
    "a large repetition": (of_a({"pattern": "a{99999999999}"}), "pattern: repeats more than 65535 times"),
    "the same as a name": (schema(patternProperties={"a{99999999999}": {}}), "the pattern a{99999999999} repeats"),
    "deep groups": (of_a({"pattern": "(" * 500 + ")" * 500}), "groups nested deeper than 50"),
    "open groups": (schema(pattern="(" * 50), "a group that is not closed"),
    "a pattern of Python": (of_a({"pattern": "(?P<a>x)"}), "no regular expression of JavaScript"),
    "a long pattern": (of_a({"pattern": "a" * 2001}), "longer than 2000 characters"),
    "a pattern that is a number": (of_a({"pattern": 1}), "pattern: must be text"),
    "a property of every object": (schema(properties={"constructor": {}}), "properties: constructor: every object"),
    "the prototype": (of_a({"type": "object", "properties": {"__proto__": {}}}), "properties: __proto__: every object"),
    "required of every object": (schema(required=["a", "toString"]), "required: toString: every object"),
    "dependencies that are one twice": (schema(dependencies={"a": ["b", "b"]}), "dependencies/a: two are the same"),
    "a long name": (schema(**{"x\n" * 1000: 1}), "keyword x\N{REPLACEMENT CHARACTER}x"),
    "a dependency on every object": (schema(dependencies={"valueOf": ["a"]}), "dependencies: valueOf: every object"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_the_cli_can_do(name: str) -> None:
    """It is accepted; that the CLI agrees is shown in tests/integration/claude."""
    began = time.process_time()
    assert ClaudeOptions.read({"output_schema": ACCEPTED[name]}).output_schema == ACCEPTED[name]
    assert time.process_time() - began < LONGEST_SECONDS


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_do_or_not_soon(name: str) -> None:
    """It is `invalid`, in a short line with the reason, however large it is."""
    refused, reason = REFUSED[name]
    began = time.process_time()
    with pytest.raises(DeadLetterError) as refusal:
        ClaudeOptions.read({"output_schema": refused})
    assert time.process_time() - began < LONGEST_SECONDS
    assert refusal.value.error_type == "invalid"
    assert reason in refusal.value.reason
    assert len(refusal.value.reason) < 400
    assert "\n" not in refusal.value.reason


def test_the_cli_is_not_told_the_dialect() -> None:
    """It knows one draft and looks for no other; all else stays as it was sent."""
    assert for_cli(ACCEPTED["of zod"]) == {key: value for key, value in ACCEPTED["of zod"].items() if key != "$schema"}


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"^[\w\-.]+@[a-z]+\.[a-z]{2,}$", None),
        (r"^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$", None),
        (r"^\d{4}-\d{2}(?::\d{2})?Z|$", None),
        (r"[]|[^]|\u{1F600}|\x41", None),
        ("", None),
        (r"\_", "no regular expression"),
        (r"\Z", "no regular expression"),
        ("[a-", "no regular expression"),
        ("[\\", "no regular expression"),
        ("x{2", "no regular expression"),
        ("}", "no regular expression"),
        ("]", "no regular expression"),
        ("(?i)a", "no regular expression"),
        ("*", "repeats nothing"),
        ("a**", "repeats nothing"),
        ("(?=a)*", "repeats nothing"),
        ("|+", "repeats nothing"),
        ("(a", "not closed"),
        ("a)", "not open"),
        ("(" * 51, "deeper"),
    ],
)
def test_patterns(pattern: str, reason: str | None) -> None:
    """Read as JavaScript reads them with the flag `u`, and never run."""
    wrong = wrong_pattern(pattern)
    assert wrong is None if reason is None else wrong is not None and reason in wrong
