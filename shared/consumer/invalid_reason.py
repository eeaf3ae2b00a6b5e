"""Why a command is invalid, in one line for its sender: where, and what is expected there; never what was sent."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

MAX_ERRORS = 3
_MAX_NAME_CHARACTERS = 80


def reason_of(error: ValidationError) -> str:
    """`items: at least 1 item …; priority: …`, with at most `MAX_ERRORS` of the errors."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    reasons = [_one(each) for each in errors[:MAX_ERRORS]]
    if len(errors) > MAX_ERRORS:
        reasons.append(f"and {len(errors) - MAX_ERRORS} more")
    return "; ".join(reasons)


def _one(error: ErrorDetails) -> str:
    path = _path(error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path}: unknown field"
    if error["type"] == "missing":
        return f"{path}: required"
    expected = error["msg"].removeprefix("Value error, ")
    expected = expected[:1].lower() + expected[1:]
    return f"{path}: {expected}" if path else expected


def _path(location: Sequence[int | str]) -> str:
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            name = _printable(step)
            path += f".{name}" if path else name
    return path


def _printable(name: str) -> str:
    """A name that stands in a line of its own: names are the sender's, too."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    return shown if len(shown) <= _MAX_NAME_CHARACTERS else shown[: _MAX_NAME_CHARACTERS - 1] + "…"
