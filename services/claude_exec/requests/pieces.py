"""What of the CLI's messages is live output. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from eldermesh.contract.claude_output import MAX_OUTPUT_TEXT_BYTES, OutputKind

_JOINED: frozenset[OutputKind] = frozenset({"text", "thinking"})
"""Kinds of which the CLI gives many small pieces; what follows one another is one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of output, not numbered yet. `repr` never shows the text."""

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
        """Both as one; None if they are not to be one."""
        if self.kind not in _JOINED or other.kind != self.kind or self.size + other.size > MAX_OUTPUT_TEXT_BYTES:
            return None
        return replace(self, text=f"{self.text or ''}{other.text or ''}")

    def __repr__(self) -> str:
        return f"Piece({self.kind}, {self.size} bytes)"


class PieceReader:
    """Reads the messages of one run's CLIs, one after another.

    Text comes in deltas, and once more as a whole with the message that they were of: the whole counts only where no
    delta was seen of it.
    """

    def __init__(self) -> None:
        self._had_deltas = False

    def take(self, message: Mapping[str, Any]) -> list[Piece]:
        """The pieces of a message; none of one that says nothing to anybody."""
        match message:
            case {"type": "system", "subtype": "init"}:
                self._had_deltas = False
                return [Piece("started")]
            case {"type": "system", "subtype": "api_retry"}:
                return [
                    Piece(
                        "retry",
                        _clean(f"{message.get('error') or 'error'} {message.get('error_status') or ''}".strip()),
                    )
                ]
            case {"type": "stream_event", "event": {"type": "content_block_delta", "delta": dict(delta)}}:
                return self._delta(delta)
            case {"type": "assistant", "message": {"content": list(blocks)}}:
                had_deltas, self._had_deltas = self._had_deltas, False
                return [piece for block in blocks for piece in _block(block, had_deltas=had_deltas)]
            case {"type": "user", "message": {"content": list(blocks)}}:
                return [piece for block in blocks for piece in _block(block, had_deltas=True)]
        return []

    def _delta(self, delta: Mapping[str, Any]) -> list[Piece]:
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                self._had_deltas = True
                return list(_split("text", text))
            case {"type": "thinking_delta", "thinking": str(text)}:
                self._had_deltas = True
                return list(_split("thinking", text))
        return []


def _block(block: Any, *, had_deltas: bool) -> Iterator[Piece]:
    match block:
        case {"type": "text", "text": str(text)} if not had_deltas:
            yield from _split("text", text)
        case {"type": "thinking", "thinking": str(text)} if not had_deltas:
            yield from _split("thinking", text)
        case {"type": "tool_use", "id": str(tool_use_id), "name": str(name)}:
            text, truncated = _cut(json.dumps(block.get("input"), ensure_ascii=False, separators=(",", ":")))
            yield Piece("tool_use", text, tool_use_id, _clean(name), truncated=truncated)
        case {"type": "tool_result", "tool_use_id": str(tool_use_id)}:
            text, truncated = _cut(_result_text(block.get("content")))
            yield Piece("tool_result", text, tool_use_id, is_error=bool(block.get("is_error")), truncated=truncated)


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
    rest = _clean(text)
    while rest:
        part, _ = _cut(rest)
        yield Piece(kind, part)
        rest = rest[len(part) :]


def _cut(text: str) -> tuple[str, bool]:
    """The longest beginning that a record takes, and whether something is missing."""
    raw = _clean(text).encode()
    if len(raw) <= MAX_OUTPUT_TEXT_BYTES:
        return raw.decode(), False
    return raw[:MAX_OUTPUT_TEXT_BYTES].decode("utf-8", "ignore"), True


def _clean(text: str) -> str:
    """The text without lone surrogates, which no record can hold."""
    return text.encode("utf-8", "replace").decode()
