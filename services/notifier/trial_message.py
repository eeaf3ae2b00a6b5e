"""Sends a test message on channels at once, without the outbox: `mesh notify test`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

from eldermesh.contract.times import format_time
from services.notifier.channels.console import ConsoleSender
from services.notifier.channels.sender import Message, Sender, Sent
from services.notifier.rules.channels import Channel, ConsoleChannel
from shared.history.clock import SystemClock
from shared.settings import Settings

TEST_TYPE = "eldermesh.notify.test.v1"
_TITLE = "Test of this channel"
_BODY = "If you can read this, ElderMesh can tell you of its jobs here."


@dataclass(frozen=True, slots=True)
class Tried:
    """Whether a channel took the test message; if not, `trouble` says why."""

    name: str
    trouble: str | None


async def try_channels(channels: Mapping[str, Channel], settings: Settings) -> list[Tried]:
    """Send one message on each channel, all at once, without retries."""
    return list(await asyncio.gather(*(_tried(name, channel, settings) for name, channel in channels.items())))


async def _tried(name: str, channel: Channel, settings: Settings) -> Tried:
    # The command's standard output is for data.
    sender: Sender = (
        ConsoleSender(lambda: sys.stderr) if isinstance(channel, ConsoleChannel) else channel.sender(settings)
    )
    outcome = await sender.send(_message())
    return Tried(name, None if isinstance(outcome, Sent) else outcome.reason)


def _message() -> Message:
    payload = {
        "type": TEST_TYPE,
        "timestamp": format_time(SystemClock().now_ms()),
        "data": {"title": _TITLE, "text": _BODY},
    }
    return Message(str(uuid4()), _TITLE, _BODY, f"<p>{_BODY}</p>", json.dumps(payload), "info")
