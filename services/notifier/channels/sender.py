"""What a channel sends, and the outcomes of a send."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Protocol

from shared.facts.notifications import NotificationPlanned, Severity

SEND_SECONDS = 10.0
"""The longest that one attempt takes."""

_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_LONGEST_SECONDS = 366 * 86400
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


def outcome_of(status: int, retry_after: str | None, now_ms: int) -> SendOutcome:
    """The outcome of an HTTP answer: 2xx sent; 408, 425, 429 and 5xx later; all others, also redirects, never."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Sent(f"HTTP {status}")
    if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return NotNow(f"HTTP {status}", retry_after_ms(retry_after, now_ms))
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Never(f"HTTP {status}: redirects are not followed; put the final address into the rules file")
    return Never(f"HTTP {status}")


def retry_after_ms(text: str | None, now_ms: int) -> int | None:
    """Milliseconds that a `Retry-After` header asks to wait, in seconds or as a date (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:12]), _LONGEST_SECONDS) * 1000
    try:
        at = parsedate_to_datetime(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        seconds = (at - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return round(min(max(0.0, seconds), _LONGEST_SECONDS) * 1000)
