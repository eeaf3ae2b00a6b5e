"""The channel `console`: one readable line on the service's standard output, and one in its log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TextIO

from eldermesh.contract.times import format_time
from services.notifier.channels.sender import Message, NotNow, SendOutcome, Sent
from shared.history.clock import Clock, SystemClock

_log = logging.getLogger(__name__)


class ConsoleSender:
    """Writes `NOTICE {time} {title}: {body}`, the body's lines in a row.

    Args:
        stream: gives the stream to write to; standard output by default.
        clock: of the time in the line.
    """

    def __init__(self, stream: Callable[[], TextIO] = lambda: sys.stdout, clock: Clock | None = None) -> None:
        self._stream = stream
        self._clock = clock or SystemClock()

    async def send(self, message: Message) -> SendOutcome:
        """Write the line."""
        text = " · ".join(line.strip() for line in message.body.splitlines() if line.strip())
        line = _printable(f"NOTICE {format_time(self._clock.now_ms())} {message.title}: {text}")
        try:
            stream = self._stream()
            stream.write(f"{line}\n")
            stream.flush()
        except OSError as error:
            return NotNow(f"standard output takes nothing: {error.strerror}")
        _log.info("told on the console: %s, notification %s", message.title, message.message_id)
        return Sent()


def _printable(text: str) -> str:
    """Without what moves a terminal's cursor or forges a line."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
