"""Records that once stopped or stalled whoever judged them; each is to cost itself alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from tests.unit.claude.test_output_schema import REFUSED

OPTIONS: Final[Mapping[str, dict[str, Any]]] = {
    "a NUL in a path": {"cwd": "/code/\0x"},
    "a path of 100,000 names": {"cwd": "/code/" + "a/" * 100_000},
    "a path that is a number": {"cwd": 1},
    "tools that no argument can hold": {"allowed_tools": ["Bash(" + "\U0001f600" * 400 + ")"] * 100},
    "a number beyond all bounds": {"max_turns": 10**15, "timeout_seconds": 1e308},
    **{name: {"output_schema": schema} for name, (schema, _) in REFUSED.items()},
}
"""Options of `claude`, every one of them `invalid`."""

DECISIONS: Final[tuple[bytes, ...]] = (
    b"[" * 50_000,
    b'{"job_id": "%s", "decision": "approve", "by": "\\u0000"}'[:-3],
    json.dumps({"job_id": "\0" * 36, "decision": "approve", "by": "me"}).encode(),
    json.dumps({"job_id": str(UUID(int=1)), "decision": "approve", "by": "x" * 100_000}).encode(),
    json.dumps({"job_id": str(UUID(int=1)), "decision": {"a": []}, "by": ["me"]}).encode(),
    b'{"job_id": ' + b"9" * 100_000 + b"}",
)
"""Decisions that are none."""

DOCUMENTS: Final[tuple[tuple[bytes | None, bytes | None], ...]] = (
    (None, b"{}"),
    (b"\xff\xfe", b"\xff"),
    (b"deep", b"[" * 50_000),
    (
        b"large number",
        json.dumps({"passages": [{"title": "", "first_line": 2**70, "last_line": 1, "text": ""}]}).encode(),
    ),
    (
        b"beyond SQLite",
        json.dumps(
            {
                "collection": "c",
                "path": "p",
                "content_hash": "h",
                "indexed_at": 2**62 * 8,
                "passages": [{"title": "t", "first_line": 1, "last_line": 1, "text": "words of a passage"}],
            }
        ).encode(),
    ),
    (b"not text", json.dumps({"note_id": 1, "text": {"a": 1}, "added_at": "now"}).encode()),
    (b"surrogate", b'{"note_id": "n", "text": "\\ud800", "added_at": 1}'),
    (b"too late", json.dumps({"note_id": "n", "text": "words", "added_at": 2**64}).encode()),
)
"""Keys and values that are neither documents nor notes."""
