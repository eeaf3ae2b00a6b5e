"""The steps of an answer, which markers and script files name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import JsonValue

Break = Literal["stall", "drop", "malformed"]
"""How an answer breaks off: nothing more comes, the connection is cut, or the rest is not JSON."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer with a text."""

    text: str


@dataclass(frozen=True, slots=True)
class Fill:
    """Answer with so many characters on one line."""

    characters: int


@dataclass(frozen=True, slots=True)
class Structured:
    """Answer with JSON: through the tool for structured output if the request offers it, else as text."""

    value: JsonValue


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call a tool. The steps after it answer the request that brings its result."""

    name: str
    arguments: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait before the first byte; with `times`, only for the first so many requests that reach this step."""

    seconds: float
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error of the API; `retry_after` is in seconds."""

    status: int
    retry_after: int | None = None
    times: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class BreakOff:
    """Send only half of the answer."""

    how: Break
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """The token counts that the answer reports; None: the usual ones."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """The answer's stop reason."""

    reason: str
    times: int | None = None


Step: TypeAlias = Reply | Fill | Structured | CallTool | Wait | Refuse | BreakOff | Usage | Stop
