"""Whether a history has its owners, and inboxes their readers: what a service's readiness check asks."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing

from redis.exceptions import RedisError

from eldermesh.kafka.errors import KafkaUnavailableError
from shared.history.gates import closed_gates
from shared.kafka.clients import make_admin
from shared.redis_client import make_redis
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
            return f"Redis does not answer: {error!r}"
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
