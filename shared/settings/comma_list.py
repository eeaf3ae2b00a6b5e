"""Lists in settings: entries separated by commas, and nothing that somebody takes for one."""

from __future__ import annotations

import json
import re
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

_LOOKS_LIKE_JSON = re.compile(r"""\s*(?:["'{]|\[\s*["'\]])""")
"""A glob may begin with a bracket, `[a-c]*:run`; no entry begins with a quote."""


def _split_list(value: object) -> object:
    """The entries of a text, empty ones left out; anything else as it is."""
    if isinstance(value, str):
        _refuse_json_list(value)
        return tuple(entry.strip() for entry in value.split(",") if entry.strip())
    return value


def _refuse_json_list(text: str) -> None:
    if not _LOOKS_LIKE_JSON.match(text):
        return
    try:
        entries = json.loads(text)
    except ValueError:
        entries = None
    if isinstance(entries, str):
        entries = [entries]
    is_list = isinstance(entries, list) and all(isinstance(entry, str) for entry in entries)
    example = ",".join(entries) if is_list and entries is not None else "first,second"
    raise ValueError(f"a list is written without brackets and quotes, its entries separated by commas: {example[:200]}")


SPLIT = BeforeValidator(_split_list)
"""Of a field that is a list, and not JSON (`NoDecode`): it is written with commas between its entries."""

Words = Annotated[tuple[str, ...], NoDecode, SPLIT]
"""A list of texts."""
