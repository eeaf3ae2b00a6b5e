"""What the command can ask about the requests of a mesh."""

from __future__ import annotations

from redis.asyncio import Redis

from services.claude_exec.requests.machine import RequestMachine
from shared.history.states import StateReader


class RequestReadModel:
    """Answers questions about requests that the public topics do not answer.

    Args:
        redis: a client with `decode_responses=False`.
        history_topic: the history topic's full name.
        partitions: how many partitions it has.
    """

    def __init__(self, redis: Redis, history_topic: str, partitions: int) -> None:
        self._states = StateReader(redis, history_topic, partitions, RequestMachine())

    async def accepted_content(self, request_id: str) -> str | None:
        """Hash of the content with which a request was accepted; None if Redis knows of no acceptance.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        state = await self._states.state(request_id)
        return None if state is None or state.acceptance is None else state.acceptance.content_hash
