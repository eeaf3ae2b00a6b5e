"""Reads the rules file: YAML. Every error names its line, its field and what is expected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from services.notifier.rules.schema import Rules
from shared.errors import ConfigurationError
from shared.text.regular_file import read_regular_file

MAX_BYTES = 1024 * 1024
_MAX_ERRORS = 10
_Steps = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """Without YAML 1.1's booleans, in which the rules' field `on` would be true."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_rules(path: Path | None) -> Rules:
    """The rules of a file; without a file, empty rules.

    Raises:
        ConfigurationError: the file cannot be read or is wrong; the message names lines, fields and what is expected.
    """
    if path is None:
        return Rules()
    try:
        raw = read_regular_file(path, MAX_BYTES)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}); MESH_NOTIFY_RULES names it") from error
    try:
        value, lines = _read(raw)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: {_yaml_trouble(error)}") from None
    try:
        return Rules.model_validate({} if value is None else value)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        told = [_told(path, lines, each) for each in errors[:_MAX_ERRORS]]
        if len(errors) > _MAX_ERRORS:
            told.append(f"and {len(errors) - _MAX_ERRORS} more")
        raise ConfigurationError("\n".join(told)) from None


def _read(raw: bytes) -> tuple[Any, dict[_Steps, int]]:
    loader = _Loader(raw.decode())
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines = dict(_lines(node, (), set()))
        return loader.construct_document(node), lines
    finally:
        loader.dispose()


def _lines(node: yaml.Node, path: _Steps, seen: set[yaml.Node]) -> Iterator[tuple[_Steps, int]]:
    """The line of every node in a document, by its path; a node that an alias repeats is not entered again.

    Nested aliases would otherwise grow exponentially, and an alias of its own parent would never end.

    Raises:
        YAMLError: a mapping has a name twice.
    """
    yield path, node.start_mark.line + 1
    if node in seen:
        return
    seen.add(node)
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in names:
                raise yaml.MarkedYAMLError(problem=f"{name} stands here twice", problem_mark=key.start_mark)
            names.add(name)
            yield from _lines(value, (*path, name), seen)
            yield (*path, name), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _lines(value, (*path, number), seen)


def _yaml_trouble(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else "no YAML in UTF-8"


def _told(path: Path, lines: dict[_Steps, int], error: ErrorDetails) -> str:
    at: _Steps = ()
    for step in error["loc"]:
        # Steps that are not in the file are the types that pydantic tried for a channel.
        if (*at, step) in lines or (error["type"] in {"missing", "extra_forbidden"} and step == error["loc"][-1]):
            at = (*at, step)
    line = next((lines[at[:length]] for length in range(len(at), -1, -1) if at[:length] in lines), 1)
    field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at).removeprefix(".")
    said = {"extra_forbidden": "unknown field", "missing": "required"}.get(error["type"])
    if said is None:
        said = error["msg"].removeprefix("Value error, ")
        said = said[:1].lower() + said[1:]
    return f"{path}, line {line}: {field}: {said}" if field else f"{path}: {said}"
