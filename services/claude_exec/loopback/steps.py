"""What an answer is made of: the steps that markers and script files name, in the order in which they are obeyed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import JsonValue

Break = Literal["stall", "drop", "malformed"]
"""How an answer goes wrong half-way: nothing more comes, the connection is cut, or what comes is no JSON."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Say a text."""

    text: str


@dataclass(frozen=True, slots=True)
class Fill:
    """Say so many characters, in one line."""

    characters: int


@dataclass(frozen=True, slots=True)
class Structured:
    """Answer with JSON: through the tool for structured output where the request offers it, else as text."""

    value: JsonValue


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call a tool. The steps after it answer the request that brings its result."""

    name: str
    arguments: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait before the first byte; with `times`, only for the first so many requests that get here."""

    seconds: float
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error of the API; `retry_after` are seconds."""

    status: int
    retry_after: int | None = None
    times: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class BreakOff:
    """Answer only half, and go wrong."""

    how: Break
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that the answer reports, where they are given."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """The reason for which the answer ends."""

    reason: str
    times: int | None = None


Step: TypeAlias = Reply | Fill | Structured | CallTool | Wait | Refuse | BreakOff | Usage | Stop
