"""The parts of the mesh, and what has to be true of each before it counts as healthy."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from shared.health.producer_report import producing_trouble, runners_of
from shared.health.readiness import unowned_partitions, unsettled_groups
from shared.kafka.groups import (
    CLAUDE_INBOX,
    CLAUDE_OWNERS,
    NOTIFIER_ENDS,
    NOTIFIER_HOLDS,
    NOTIFIER_OWNERS,
    ROUTER_INBOXES,
    ROUTER_OWNERS,
    SAGES_PANEL,
)
from shared.kafka.topics import CLAUDE_HISTORY, JOBS_HISTORY, NOTIFICATIONS
from shared.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the mesh. It is healthy when each of these holds for all its processes together.

    Attributes:
        producer: the service, or the engine, whose records Kafka has to acknowledge.
        is_of_host: true for an engine: only its workers on this host count.
        history: the topic, without prefix, each of whose partitions has to have an owner.
        owners: the consumer group of these owners, without prefix.
        readers: the consumer groups, without prefix, that have to have settled.
    """

    producer: str
    is_of_host: bool = False
    history: str | None = None
    owners: str = ""
    readers: tuple[str, ...] = ()

    async def trouble(self, settings: Settings) -> str | None:
        """What does not hold, in one line; None when all does."""
        producer = runners_of(self.producer, socket.gethostname()) if self.is_of_host else self.producer
        found = await producing_trouble(settings, producer)
        if found is None and self.history is not None:
            found = await unowned_partitions(settings, self.history, self.owners)
        if found is None and self.readers:
            found = await unsettled_groups(settings, self.readers)
        return found


ROUTER: Final = Part(
    producer="router", history=JOBS_HISTORY, owners=ROUTER_OWNERS, readers=tuple(ROUTER_INBOXES.values())
)
CLAUDE_EXEC: Final = Part(producer="claude_exec", history=CLAUDE_HISTORY, owners=CLAUDE_OWNERS, readers=(CLAUDE_INBOX,))
NOTIFIER: Final = Part(
    producer="notifier", history=NOTIFICATIONS, owners=NOTIFIER_OWNERS, readers=(NOTIFIER_ENDS, NOTIFIER_HOLDS)
)
SAGES: Final = Part(producer="sages", readers=(SAGES_PANEL,))
"""Sages that are warming up are no trouble."""

CELERY_RUNNERS: Final = Part(producer="celery", is_of_host=True)
"""Of the router's engines only the results: Kafka may refuse them for minutes while the router has nothing to send.

Whether workers run at all is asked by `services.router.health`, which knows Celery and Ray.
"""
RAY_RUNNERS: Final = Part(producer="ray", is_of_host=True)
