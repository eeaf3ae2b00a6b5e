"""The requests of a mesh, for whoever asks about them: the command, a gateway."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from eldermesh.contract.partitions import partition_of
from services.claude_exec.requests.machine import RequestMachine
from shared.history.keys import PartitionKeys


class RequestReadModel:
    """Answers every question about requests that the public topics do not answer.

    Args:
        redis: a client with `decode_responses=False`.
        history_topic: the history topic's full name.
        partitions: how many partitions it has.
    """

    def __init__(self, redis: Redis, history_topic: str, partitions: int) -> None:
        self._redis = redis
        self._topic = history_topic
        self._partitions = partitions
        self._machine = RequestMachine()

    async def accepted_content(self, request_id: str) -> str | None:
        """Hash of the content with which a request was accepted; None when it was not, as far as Redis knows.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        keys = PartitionKeys(self._topic, partition_of(request_id, self._partitions))
        raw: Any = await self._redis.hget(keys.states, request_id)
        state = None if raw is None else self._machine.decode(raw, b"")
        return None if state is None or state.acceptance is None else state.acceptance.content_hash
