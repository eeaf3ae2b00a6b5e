"""What the endpoint was asked, for tests and for people who wonder: the newest requests, in memory only."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_ENTRIES = 1_000
MAX_TEXT = 4_000
"""Characters kept of a prompt and of a tool's result."""


@dataclass(slots=True)
class Entry:
    """One request. Times are seconds since the epoch; what is not known (yet) is null.

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
        """Enter a request that has come."""
        self.total += 1
        entry = Entry(self.total, method, path[:MAX_TEXT])
        self._entries.append(entry)
        return entry

    def clear(self) -> None:
        """Forget all; numbers go on."""
        self._entries.clear()

    def shown(self) -> dict[str, Any]:
        """What `GET /_loopback/requests` answers."""
        return {"total": self.total, "requests": [asdict(entry) for entry in self._entries]}


def excerpt(text: str | None) -> str | None:
    """As much of a text as is kept."""
    return text if text is None else text[:MAX_TEXT]
