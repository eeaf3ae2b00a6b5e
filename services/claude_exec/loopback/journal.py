"""The newest requests to the endpoint, for tests and for debugging; in memory only."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_ENTRIES = 1_000
MAX_TEXT = 4_000
"""Characters that are kept of a text, such as a prompt."""


@dataclass(slots=True)
class Entry:
    """One request. Times are seconds since 1970; unknown values are null.

    Attributes:
        number: 1 for the first request since the start.
        outcome: `answered`, `refused` (an error of the API), `stalled`, `dropped`, `malformed`, `gone` (the caller left
            before the end) or `stopped` (the endpoint did).
    """

    number: int
    method: str
    path: str
    began: float = field(default_factory=time.time)
    ended: float | None = None
    model: str | None = None
    streamed: bool | None = None
    prompt: str | None = None
    prompt_characters: int | None = None
    turn: int | None = None
    tool_result: str | None = None
    traceparent: str | None = None
    session_id: str | None = None
    user_agent: str | None = None
    status: int | None = None
    outcome: str | None = None


class Journal:
    """The newest `MAX_ENTRIES` requests."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self.total = 0

    def begin(self, method: str, path: str) -> Entry:
        """Add a request."""
        self.total += 1
        entry = Entry(self.total, method, path[:MAX_TEXT])
        self._entries.append(entry)
        return entry

    def clear(self) -> None:
        """Delete all entries; the numbers continue."""
        self._entries.clear()

    def shown(self) -> dict[str, Any]:
        """The answer to `GET /_loopback/requests`."""
        return {"total": self.total, "requests": [asdict(entry) for entry in self._entries]}


def excerpt(text: str | None) -> str | None:
    """The part of a text that is kept."""
    return text if text is None else text[:MAX_TEXT]
