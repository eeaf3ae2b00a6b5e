"""A message of the Messages API, whole or as its server-sent events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from pydantic import JsonValue

from services.claude_exec.loopback.steps import Usage

DELTA_PARTS = 8
"""Pieces of a short text in a stream, so that half of them is a beginning of the text."""
MAX_DELTA = 16 * 1024
"""Characters of a piece at most."""


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A block of text."""

    text: str

    @property
    def characters(self) -> int:
        """Its length."""
        return len(self.text)

    def whole(self) -> dict[str, Any]:
        """As in an answer that is not streamed."""
        return {"type": "text", "text": self.text}

    def start(self) -> dict[str, Any]:
        """As it starts in a stream."""
        return {"type": "text", "text": ""}

    def deltas(self) -> Iterator[dict[str, Any]]:
        """How it continues."""
        return ({"type": "text_delta", "text": part} for part in _parts(self.text))


@dataclass(frozen=True, slots=True)
class ToolBlock:
    """A block that calls a tool."""

    call_id: str
    name: str
    arguments: dict[str, JsonValue]

    @property
    def characters(self) -> int:
        """The length of its input as JSON."""
        return len(self._json())

    def whole(self) -> dict[str, Any]:
        """As in an answer that is not streamed."""
        return {**self.start(), "input": self.arguments}

    def start(self) -> dict[str, Any]:
        """As it starts in a stream."""
        return {"type": "tool_use", "id": self.call_id, "name": self.name, "input": {}}

    def deltas(self) -> Iterator[dict[str, Any]]:
        """How it continues: its input's JSON, in pieces."""
        return ({"type": "input_json_delta", "partial_json": part} for part in _parts(self._json()))

    def _json(self) -> str:
        return orjson.dumps(self.arguments).decode()


Block: TypeAlias = TextBlock | ToolBlock


@dataclass(frozen=True, slots=True)
class Message:
    """An answer of the model."""

    message_id: str
    model: str
    blocks: tuple[Block, ...]
    stop_reason: str
    usage: Usage

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        return {
            **self._envelope([block.whole() for block in self.blocks]),
            "stop_reason": self.stop_reason,
            "usage": self._usage(self.usage.output_tokens),
        }

    def events(self) -> Iterator[bytes]:
        """The server-sent events of an answer that is streamed, one each."""
        yield _event("message_start", message=self._envelope([]) | {"usage": self._usage(1)})
        yield _event("ping")
        for index, block in enumerate(self.blocks):
            yield _event("content_block_start", index=index, content_block=block.start())
            for delta in block.deltas():
                yield _event("content_block_delta", index=index, delta=delta)
            yield _event("content_block_stop", index=index)
        yield _event(
            "message_delta",
            delta={"stop_reason": self.stop_reason, "stop_sequence": None},
            usage=self._usage(self.usage.output_tokens),
        )
        yield _event("message_stop")

    def _envelope(self, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
        }

    def _usage(self, output_tokens: int | None) -> dict[str, Any]:
        return {
            "input_tokens": self.usage.input_tokens,
            "cache_creation_input_tokens": self.usage.cache_write_tokens,
            "cache_read_input_tokens": self.usage.cache_read_tokens,
            "output_tokens": output_tokens,
            "service_tier": "standard",
        }


def _parts(text: str) -> Iterator[str]:
    size = min(max(1, -(-len(text) // DELTA_PARTS)), MAX_DELTA)
    return (text[start : start + size] for start in range(0, len(text), size))


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))
