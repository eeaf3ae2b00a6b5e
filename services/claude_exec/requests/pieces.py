"""The live output in the CLI's messages. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from eldermesh.contract.claude_output import MAX_OUTPUT_TEXT_BYTES, OutputKind
from shared.text.surrogates import whole_characters, without_half_at_the_end

_JOINED: frozenset[OutputKind] = frozenset({"text", "thinking"})
"""Kinds that the CLI sends in many small pieces; consecutive pieces are joined."""

_MOST_HALVES = 64
"""How many texts, one for each sub-agent, may wait for the second half of a character."""

_MAX_NAME_CHARACTERS = 256
"""Of the name of a tool and the id of a tool use, which the API may answer with any length."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of output without a number. `repr` never shows the text."""

    kind: OutputKind
    text: str | None = None
    tool_use_id: str | None = None
    tool_name: str | None = None
    is_error: bool | None = None
    truncated: bool = False

    @property
    def size(self) -> int:
        """Bytes of its text."""
        return len((self.text or "").encode())

    def joined(self, other: Piece) -> Piece | None:
        """Both as one piece; None if they cannot be joined."""
        if self.kind not in _JOINED or other.kind != self.kind or self.size + other.size > MAX_OUTPUT_TEXT_BYTES:
            return None
        return replace(self, text=f"{self.text or ''}{other.text or ''}")

    def __repr__(self) -> str:
        return f"Piece({self.kind}, {self.size} bytes)"


class _Block(NamedTuple):
    """Identifies a text that comes in deltas: the sub-agent, and the block's number in its message."""

    parent: str
    number: str
    kind: OutputKind


class PieceReader:
    """Reads the messages of one run's CLIs, one after another.

    A text comes in deltas, and again as a whole in the complete message. The whole counts only if it had no deltas.
    """

    def __init__(self) -> None:
        self._had_deltas = False
        self._halves: dict[_Block, str] = {}

    def take(self, message: Mapping[str, Any]) -> list[Piece]:
        """The pieces of a message, perhaps none.

        Half a character at the end of a delta waits for the next delta of the same text.
        """
        match message:
            case {"type": "stream_event", "event": {"type": "content_block_delta", "delta": dict(delta)} as event}:
                return self._delta(delta, message.get("parent_tool_use_id"), event.get("index"))
            case {"type": "stream_event"}:
                return []
            case {"type": "assistant"}:
                return [*self._given_up(str(message.get("parent_tool_use_id"))), *self._whole(message)]
            case {"type": "system", "subtype": "init"}:
                return [*self.rest(), *self._whole(message)]
        return self._whole(message)

    def rest(self) -> list[Piece]:
        """The half characters that still wait; no more messages follow."""
        return self._given_up(None)

    def _given_up(self, parent: str | None) -> list[Piece]:
        """The half characters of one parent, or of all if `parent` is None."""
        ended = [block for block in self._halves if parent in (None, block.parent)]
        return [piece for block in ended for piece in _split(block.kind, self._halves.pop(block))]

    def _whole(self, message: Mapping[str, Any]) -> list[Piece]:
        match message:
            case {"type": "system", "subtype": "init"}:
                self._had_deltas = False
                return [Piece("started")]
            case {"type": "system", "subtype": "api_retry"}:
                error, status = message.get("error") or "error", message.get("error_status") or ""
                text, truncated = _cut(f"{error} {status}".strip())
                return [Piece("retry", text, truncated=truncated)]
            case {"type": "assistant", "message": {"content": list(blocks)}}:
                had_deltas, self._had_deltas = self._had_deltas, False
                return [piece for block in blocks for piece in _block(block, had_deltas=had_deltas)]
            case {"type": "user", "message": {"content": list(blocks)}}:
                return [piece for block in blocks for piece in _block(block, had_deltas=True)]
        return []

    def _delta(self, delta: Mapping[str, Any], parent: Any, index: Any) -> list[Piece]:
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                return self._more(_Block(str(parent), str(index), "text"), text)
            case {"type": "thinking_delta", "thinking": str(text)}:
                return self._more(_Block(str(parent), str(index), "thinking"), text)
        return []

    def _more(self, block: _Block, text: str) -> list[Piece]:
        self._had_deltas = True
        said, half = without_half_at_the_end(self._halves.pop(block, "") + text)
        given_up = self.rest() if len(self._halves) >= _MOST_HALVES else []
        if half:
            self._halves[block] = half
        return [*given_up, *_split(block.kind, said)]


def _block(block: Any, *, had_deltas: bool) -> Iterator[Piece]:
    match block:
        case {"type": "text", "text": str(text)} if not had_deltas:
            yield from _split("text", text)
        case {"type": "thinking", "thinking": str(text)} if not had_deltas:
            yield from _split("thinking", text)
        case {"type": "tool_use", "id": str(tool_use_id), "name": str(name)}:
            text, truncated = _cut(json.dumps(block.get("input"), ensure_ascii=False, separators=(",", ":")))
            yield Piece("tool_use", text, _name(tool_use_id), _name(name), truncated=truncated)
        case {"type": "tool_result", "tool_use_id": str(tool_use_id)}:
            text, truncated = _cut(_result_text(block.get("content")))
            is_error = bool(block.get("is_error"))
            yield Piece("tool_result", text, _name(tool_use_id), is_error=is_error, truncated=truncated)


def _result_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(_part_text(part) for part in content) if isinstance(content, list) else ""


def _part_text(part: Any) -> str:
    match part:
        case {"text": str(text)}:
            return text
        case {"type": str(kind)}:
            return f"[{kind}]"
    return "[?]"


def _split(kind: OutputKind, text: str) -> Iterator[Piece]:
    raw, at = whole_characters(text).encode(), 0
    while at < len(raw):
        part = _beginning(raw[at : at + MAX_OUTPUT_TEXT_BYTES])
        yield Piece(kind, part)
        at += len(part.encode())


def _name(text: str) -> str:
    return whole_characters(text)[:_MAX_NAME_CHARACTERS]


def _cut(text: str) -> tuple[str, bool]:
    """The longest beginning that fits in a record, and whether the text was cut."""
    raw = whole_characters(text).encode()
    if len(raw) <= MAX_OUTPUT_TEXT_BYTES:
        return raw.decode(), False
    return _beginning(raw[:MAX_OUTPUT_TEXT_BYTES]), True


def _beginning(raw: bytes) -> str:
    """Decode UTF-8 and drop an incomplete character at its end."""
    return raw.decode("utf-8", "ignore")
