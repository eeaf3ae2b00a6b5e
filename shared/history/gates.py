"""Whether runners may claim: seen from outside, for readiness checks."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from shared.history.keys import PartitionKeys


async def closed_gates(redis: Redis, topic: str, partitions: int) -> list[int]:
    """The partitions of a history whose gate is closed: not loaded yet, or not since Redis' last restart.

    Args:
        redis: a client with `decode_responses=False`.
        topic: the history topic's full name.
        partitions: how many it has.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    info: Any = await redis.info("server")
    run_id = str(info["run_id"]).encode()
    closed = []
    for partition in range(partitions):
        ready: Any = await redis.hget(PartitionKeys(topic, partition).meta, "ready")
        if ready != run_id:
            closed.append(partition)
    return closed
