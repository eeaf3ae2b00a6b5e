"""What a channel sends, and the outcomes of a send."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Protocol

from shared.facts.notifications import NotificationPlanned, Severity

SEND_SECONDS = 10.0
"""The longest that one attempt takes."""

_BREAKING = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `message_id` stays the same in every repeat; `repr` never shows the text."""

    message_id: str
    title: str
    body: str
    html: str | None
    payload: str | None
    severity: Severity

    @classmethod
    def of(cls, notification_id: str, planned: NotificationPlanned) -> Message:
        """The message of a notification."""
        return cls(notification_id, planned.title, planned.body, planned.html, planned.payload, planned.severity)

    def __repr__(self) -> str:
        return f"Message({self.message_id})"


@dataclass(frozen=True, slots=True)
class Sent:
    """The channel took it."""

    detail: str | None = None


@dataclass(frozen=True, slots=True)
class NotNow:
    """It may be taken later; `after_ms` is what the other side asked for, None if it did not say."""

    reason: str
    after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Never:
    """It will not be taken, however often it is tried."""

    reason: str


SendOutcome = Sent | NotNow | Never


class Sender(Protocol):
    """One channel."""

    async def send(self, message: Message) -> SendOutcome:
        """Send once. Neither reasons nor what it raises hold an address's secrets."""
        ...


def one_line(text: str) -> str:
    """The text on one line: single spaces, no line breaks, and U+FFFD for control characters."""
    words = " ".join(text.split())
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(each) in _BREAKING else each for each in words)
