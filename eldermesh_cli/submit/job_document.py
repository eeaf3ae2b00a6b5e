"""A submit put together from what was typed: inline items, files of JSON lines, whole documents, options."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

from eldermesh.contract.vocabulary import MAX_ITEMS, MAX_RECORD_BYTES
from eldermesh_cli.program.errors import CliError, usage_error
from eldermesh_cli.submit.name_value_pairs import refuse_twice, typed_pairs
from eldermesh_cli.submit.text_input import STDIN, given_name, read_given
from eldermesh_cli.terminal.safe_text import shortened

if TYPE_CHECKING:
    from pydantic import JsonValue

    from eldermesh.contract.commands import JobSubmit

_MAX_FILE_BYTES = 16 * MAX_RECORD_BYTES
"""What is read of a file: as a record it may take less, without white space, escapes and a wider encoding."""


@dataclass(slots=True)
class TypedJob:
    """What was typed, by kind. `fields` are the submit's own fields, None where nothing was said."""

    workload: str | None = None
    inline: Sequence[str] = ()
    items_file: str | None = None
    document: str | None = None
    as_text: bool = False
    options: Sequence[str] = ()
    labels: Sequence[str] = ()
    function: str | None = None
    fields: Mapping[str, JsonValue] = field(default_factory=dict)


def build_submit(typed: TypedJob) -> JobSubmit:
    """The submit; what is typed wins over what a document says.

    Raises:
        CliError: something typed or a file cannot be read, or the job breaks the contract.
    """
    from pydantic import ValidationError

    from eldermesh.contract.commands import JobSubmit

    content = _content(typed)
    try:
        return JobSubmit.model_validate(content)
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'the job'}: {each['msg']}"
            for each in error.errors(include_input=False, include_url=False)[:5]
        )
        raise _invalid(reasons) from error


def _content(typed: TypedJob) -> dict[str, JsonValue]:
    if typed.document is not None and typed.workload is not None:
        raise usage_error(
            f"{typed.workload!r} beside --file, which names the workload itself", "add items with -i or --items-file"
        )
    content = {} if typed.document is None else _document(typed.document)
    if typed.workload is not None:
        content["workload"] = typed.workload
    items = _items(typed)
    if items is not None:
        content.pop("items_url", None)
        content["items"] = items
    if typed.fields.get("items_url") is not None:
        if items is not None:
            raise usage_error("give items or --items-url, not both")
        content.pop("items", None)
    content |= {name: value for name, value in typed.fields.items() if value is not None}
    options = {name: json_or_text(text) for name, text in typed_pairs("--option", typed.options).items()}
    if typed.function is not None:
        refuse_twice(options, "function", "--function")
        options["function"] = typed.function
    _merge(content, "options", options)
    _merge(content, "labels", typed_pairs("--label", typed.labels))
    if "workload" not in content:
        raise usage_error("no workload was given", "`mesh submit WORKLOAD ITEM…`, or a document by --file")
    if "items" not in content and "items_url" not in content:
        raise usage_error("no items were given", "type them after the workload, or use --items-file or - for stdin")
    return content


def _merge(content: dict[str, JsonValue], name: str, added: Mapping[str, JsonValue]) -> None:
    if added:
        base = content.get(name)
        content[name] = {**(base if isinstance(base, dict) else {}), **added}


def _document(path: str) -> dict[str, JsonValue]:
    from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson

    try:
        document = parse_ijson(read_given(path, _MAX_FILE_BYTES))
    except UndecodableJsonError as error:
        raise _invalid(f"{given_name(path)} is no job document: {error}") from error
    if not isinstance(document, dict):
        raise _invalid(f"{given_name(path)} is no job document: it holds no JSON object")
    return document


def _items(typed: TypedJob) -> list[JsonValue] | None:
    """Items typed and items of a file, in this order; None when none of either kind was given."""
    inline = [item for item in typed.inline if item != STDIN]
    from_stdin = len(inline) != len(typed.inline)
    if from_stdin and typed.items_file is not None:
        raise usage_error("give either - or --items-file, not both")
    path = STDIN if from_stdin else typed.items_file
    if path is None and not inline:
        return None
    if path == STDIN and typed.document == STDIN:
        raise usage_error("standard input cannot be both the document and the items")
    items: list[JsonValue] = [text if typed.as_text else json_or_text(text) for text in inline]
    if path is not None:
        items += _lines(path, as_text=typed.as_text)
    return items


def _lines(path: str, *, as_text: bool) -> Iterable[JsonValue]:
    """One item a line; empty lines are skipped."""
    from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson

    items = 0
    for number, line in enumerate(BytesIO(read_given(path, _MAX_FILE_BYTES)), start=1):
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if not text.strip():
            continue
        items += 1
        if items > MAX_ITEMS:
            raise _invalid(f"{given_name(path)} has more than {MAX_ITEMS} items")
        try:
            yield text.decode() if as_text else parse_ijson(text)
        except UnicodeDecodeError as error:
            raise _invalid(f"line {number} of {given_name(path)} is not UTF-8") from error
        except UndecodableJsonError as error:
            raise _invalid(
                f"line {number} of {given_name(path)} is no JSON: {error}", "--text takes each line as a string"
            ) from error


def json_or_text(text: str) -> JsonValue:
    """What was typed as JSON if it is JSON, else as a string.

    Raises:
        CliError: it is JSON, but not such that every reader reads the same (NaN, 2^64, a name twice).
    """
    from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson

    try:
        json.loads(text, parse_int=str, parse_float=str)  # as text: a number of thousands of digits is JSON
    except ValueError:
        return text
    except RecursionError:  # whether it would be JSON in the end or not
        pass
    try:
        return parse_ijson(text.encode())
    except UndecodableJsonError as error:
        raise _invalid(f"{shortened(text)!r} is no I-JSON: {error}", "--text takes items as strings") from error


def _invalid(reason: str, hint: str | None = None) -> CliError:
    return usage_error(reason, hint or "nothing was sent; `mesh schema job-submit` prints what a job may say")
