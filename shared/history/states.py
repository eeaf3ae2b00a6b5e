"""The states of a history as their owners left them in Redis: for people who ask, never for deciding anything."""

from __future__ import annotations

from typing import Any, Generic

from redis.asyncio import Redis

from eldermesh.contract.partitions import partition_of
from shared.history.keys import PartitionKeys
from shared.history.machine import Machine, S
from shared.history.settled_state import decoded


class StateReader(Generic[S]):
    """The known subjects of one history topic.

    What it says is as old as the owner's last advance; while Redis is being filled again, subjects may be missing.

    Args:
        redis: a client with `decode_responses=False`.
        history_topic: the history topic's full name.
        partitions: how many partitions it has.
        machine: decodes the states.
    """

    def __init__(self, redis: Redis, history_topic: str, partitions: int, machine: Machine[S]) -> None:
        self._redis = redis
        self._topic = history_topic
        self._partitions = partitions
        self._machine = machine

    def partition(self, subject: str) -> int:
        """The history partition of a subject."""
        return partition_of(subject, self._partitions)

    async def state(self, subject: str) -> S | None:
        """A subject's state; None when it is not known.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        keys = PartitionKeys(self._topic, self.partition(subject))
        # The bitmap last: it may be ahead of the state, which only makes what is told fresher.
        raw: Any = await self._redis.hget(keys.states, subject)
        bitmap: Any = await self._redis.hget(keys.bitmaps, subject)
        return None if raw is None else decoded(self._machine, raw, bitmap or b"")
