"""Whether runners may claim: seen from outside, for readiness checks."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from shared.history.keys import PartitionKeys

SILENT_SECONDS = 30.0
"""An owner looks at its claims once a second, unless it is held up by a broker that does not answer."""


async def closed_gates(redis: Redis, topic: str, partitions: int) -> list[int]:
    """The partitions of a history that nobody serves: their gate is closed, or their owner has not looked for long.

    A gate is closed when its partition is not loaded yet, or not since Redis' last restart. It stays open when its
    owner is gone or stands still, so owners note when they last looked at claims. Owners of earlier releases do not:
    for those only the gate counts.

    Args:
        redis: a client with `decode_responses=False`.
        topic: the history topic's full name.
        partitions: how many it has.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    info: Any = await redis.info("server")
    run_id = str(info["run_id"]).encode()
    seconds, micros = await redis.time()
    silent_since = (seconds - SILENT_SECONDS) * 1000 + micros / 1000
    closed = []
    for partition in range(partitions):
        noted: Any = await redis.hmget(PartitionKeys(topic, partition).meta, ["ready", "looked", "token", "looks"])
        ready, looked, token, looks = noted
        is_silent = looked is not None and looks == token and int(looked) < silent_since
        if ready != run_id or is_silent:
            closed.append(partition)
    return closed
