"""What a channel does with a message, and what may come of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.facts.notifications import NotificationPlanned, Severity

SEND_SECONDS = 10.0
"""Longest that one attempt takes."""


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
