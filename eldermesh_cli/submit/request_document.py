"""A prompt as it was typed, as a request of the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue, ValidationError

from eldermesh.contract.claude_commands import ClaudeRequest
from eldermesh.contract.vocabulary import MAX_RECORD_BYTES
from eldermesh_cli.program.errors import usage_error
from eldermesh_cli.submit.job_document import json_or_text
from eldermesh_cli.submit.name_value_pairs import refuse_twice, typed_pairs
from eldermesh_cli.submit.text_input import STDIN, read_given_text

_HINT = "nothing was sent; `mesh schema claude-request` prints what a request may say"


@dataclass(frozen=True, slots=True)
class TypedRequest:
    """What stood on the command line; `fields` that were not given are None."""

    prompt: str
    options: Sequence[str]
    labels: Sequence[str]
    model: str | None
    tools: Sequence[str]
    fields: Mapping[str, JsonValue]


def build_request(typed: TypedRequest) -> ClaudeRequest:
    """The request.

    Raises:
        CliError: it breaks the contract.
    """
    pairs = typed_pairs("--option", typed.options)
    options: dict[str, JsonValue] = {name: json_or_text(text) for name, text in pairs.items()}
    if typed.model is not None:
        refuse_twice(options, "model", "--model")
        options["model"] = typed.model
    if typed.tools:
        refuse_twice(options, "allowed_tools", "--tool")
        options["allowed_tools"] = list(typed.tools)
    content: dict[str, JsonValue] = {name: value for name, value in typed.fields.items() if value is not None}
    content["prompt"] = read_given_text(STDIN, MAX_RECORD_BYTES) if typed.prompt == STDIN else typed.prompt
    if options:
        content["options"] = options
    if typed.labels:
        content["labels"] = {**typed_pairs("--label", typed.labels)}
    try:
        return ClaudeRequest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise usage_error(f"{where}: {first['msg'].removeprefix('Value error, ')}", _HINT) from error
