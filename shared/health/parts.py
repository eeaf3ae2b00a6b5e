"""The parts of the mesh, and what has to be true of each before it counts as healthy: its owners and its readers."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from redis.exceptions import RedisError

from eldermesh.kafka.errors import KafkaUnavailableError
from shared.health.producer_report import producing_trouble, runners_of
from shared.history.gates import closed_gates
from shared.kafka.clients import make_admin
from shared.kafka.topics import (
    CLAUDE_HISTORY,
    CLAUDE_INBOX,
    CLAUDE_OWNERS,
    JOBS_HISTORY,
    NOTIFICATIONS,
    NOTIFIER_ENDS,
    NOTIFIER_HOLDS,
    NOTIFIER_OWNERS,
    ROUTER_INBOXES,
    ROUTER_OWNERS,
    SAGES_PANEL,
    tenant_group,
)
from shared.redis_client import make_redis, redis_trouble
from shared.settings import Settings

_GROUP_STATE = 2
"""Place of the state in Kafka's description of a group: error, id, state, …."""


async def unowned_partitions(settings: Settings, history_topic: str, owner_group: str) -> str | None:
    """Why nothing of a history would go on: a partition without an owner, or Redis does not answer; None if it would.

    It looks at what all processes do together, not at one of them. Names are without prefix. A gate in Redis stays
    open when its owner leaves the owners' group, so that group is asked, too.
    """
    async with aclosing(make_redis(settings)) as redis:
        try:
            closed = await closed_gates(redis, settings.topic(history_topic), settings.partition_count)
        except (RedisError, OSError) as error:
            return redis_trouble(error)
    if closed:
        return f"partitions {closed} of {history_topic} are not owned"
    return await unsettled_groups(settings, [owner_group])


async def unsettled_groups(settings: Settings, groups: Iterable[str]) -> str | None:
    """Why nobody would read for a group: it has no members, or has not settled, for which a new one takes seconds.

    `groups` are without prefix.
    """
    admin = make_admin(settings)
    try:
        await admin.start()
        for group in groups:
            (answer,) = await admin.describe_consumer_groups([settings.topic(group)])
            state = answer.groups[0][_GROUP_STATE]
            if state != "Stable":
                return f"the consumer group {group} is not settled, but {state}"
    except (KafkaUnavailableError, OSError) as error:
        return f"the broker does not answer: {error!r}"
    finally:
        await admin.close()
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the mesh. It is healthy when each of these holds for all its processes together.

    Attributes:
        producer: the service, or the engine, whose records Kafka has to acknowledge.
        is_of_host: true for an engine: only its workers on this host count.
        history: the topic, without prefix, each of whose partitions has to have an owner.
        owners: the consumer group of these owners, without prefix.
        readers: the consumer groups, without prefix, that have to have settled.
        reads_tenants: whether those of the inboxes of tenants have to, too.
    """

    producer: str
    is_of_host: bool = False
    history: str | None = None
    owners: str = ""
    readers: tuple[str, ...] = ()
    reads_tenants: bool = False

    async def trouble(self, settings: Settings) -> str | None:
        """What does not hold, in one line; None when all does."""
        producer = runners_of(self.producer, socket.gethostname()) if self.is_of_host else self.producer
        found = await producing_trouble(settings, producer)
        if found is None and self.history is not None:
            found = await unowned_partitions(settings, self.history, self.owners)
        readers = (*self.readers, *(map(tenant_group, settings.tenants) if self.reads_tenants else ()))
        if found is None and readers:
            found = await unsettled_groups(settings, readers)
        return found


ROUTER: Final = Part(
    producer="router",
    history=JOBS_HISTORY,
    owners=ROUTER_OWNERS,
    readers=tuple(ROUTER_INBOXES.values()),
    reads_tenants=True,
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
