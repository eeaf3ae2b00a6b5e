"""What a runner needs of a request, read once from its original bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import JsonValue

from eldermesh.contract.ijson import parse_ijson
from shared.facts.claude import ClaudeAccepted


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """A prompt and how to run it. `repr` never shows the prompt."""

    prompt: str = field(repr=False)
    options: dict[str, JsonValue] = field(repr=False)
    run_timeout_seconds: float | None
    stream: bool
    trace_id: str
    content_hash: str | None = None
    """None if an earlier release wrote it."""

    @classmethod
    def decode(cls, raw: bytes) -> RequestSpec:
        """Decode the bytes of `request_spec`."""
        content: dict[str, Any] = orjson.loads(raw)
        timeout_ms = content["run_timeout_ms"]
        return cls(
            prompt=content["prompt"],
            options=content["options"],
            run_timeout_seconds=None if timeout_ms is None else timeout_ms / 1000,
            stream=content["stream"],
            trace_id=content["trace_id"],
            content_hash=content.get("content_hash"),
        )


def request_spec(fact: ClaudeAccepted) -> bytes:
    """The bytes that Redis keeps while the request is live."""
    request = parse_ijson(fact.original.encode())
    content = request if isinstance(request, dict) else {}
    return orjson.dumps(
        {
            "prompt": content.get("prompt"),
            "options": content.get("options", {}),
            "run_timeout_ms": fact.terms.run_timeout_ms,
            "stream": fact.terms.stream,
            "trace_id": fact.trace_id,
            "content_hash": fact.content_hash,
        }
    )
