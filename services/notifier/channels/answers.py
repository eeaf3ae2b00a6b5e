"""What an HTTP answer means for a message. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from services.notifier.channels.sender import Never, NotNow, SendOutcome, Sent

_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_LONGEST_SECONDS = 366 * 86400


def outcome_of(status: int, retry_after: str | None, now_ms: int) -> SendOutcome:
    """2xx: sent. 408, 425, 429 and 5xx: later. All others, redirects among them: never."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Sent(f"HTTP {status}")
    if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return NotNow(f"HTTP {status}", retry_after_ms(retry_after, now_ms))
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Never(f"HTTP {status}: redirects are not followed; put the final address into the rules file")
    return Never(f"HTTP {status}")


def retry_after_ms(text: str | None, now_ms: int) -> int | None:
    """How long a `Retry-After` header asks to wait, given in seconds or as a date (RFC 9110, 10.2.3)."""
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
