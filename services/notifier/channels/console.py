"""The channel `console`: one readable line on the service's standard output, and one in its log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TextIO

from eldermesh.contract.times import format_time
from services.notifier.channels.sender import Message, NotNow, SendOutcome, Sent
from shared.history.clock import SystemClock

_log = logging.getLogger(__name__)


class ConsoleSender:
    """Writes `NOTICE {time} {title}: {body}`, with the body's lines joined by dots.

    Args:
        stream: gives the stream to write to; standard output by default.
    """

    def __init__(self, stream: Callable[[], TextIO] = lambda: sys.stdout) -> None:
        self._stream = stream

    async def send(self, message: Message) -> SendOutcome:
        """Write the line."""
        text = " · ".join(line.strip() for line in message.body.splitlines() if line.strip())
        line = _printable(f"NOTICE {format_time(SystemClock().now_ms())} {message.title}: {text}")
        try:
            stream = self._stream()
            stream.write(f"{line}\n")
            stream.flush()
        except OSError as error:
            return NotNow(f"standard output takes nothing: {error.strerror}")
        _log.info("told on the console: %s, notification %s", message.title, message.message_id)
        return Sent()


def _printable(text: str) -> str:
    """The text without characters that move a terminal's cursor or start a new line."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
