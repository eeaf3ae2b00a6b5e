"""Reading jobs out of Redis as their owner left them there: for people who ask, never for deciding anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis

from eldermesh.contract.partitions import partition_of
from services.router.jobs.machine import JobMachine
from services.router.jobs.state import JobState
from shared.history.chunks import missing_items
from shared.history.keys import PartitionKeys

_SCAN_STATES = 500


class JobLookup:
    """The known jobs of one history topic.

    What it says is as old as the owner's last advance; while Redis is being filled again, jobs may be missing.

    Args:
        redis: a client with `decode_responses=False`.
        history_topic: the history topic's full name.
        partitions: how many partitions it has.
    """

    def __init__(self, redis: Redis, history_topic: str, partitions: int) -> None:
        self._redis = redis
        self._topic = history_topic
        self._partitions = partitions
        self._machine = JobMachine()

    def partition(self, job_id: str) -> int:
        """The history partition of a job."""
        return partition_of(job_id, self._partitions)

    async def state(self, job_id: str) -> JobState | None:
        """A job's state; None when it is not known.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        keys = PartitionKeys(self._topic, self.partition(job_id))
        # The bitmap last: it may be ahead of the state, which only makes `items_running` fresher.
        raw: Any = await self._redis.hget(keys.states, job_id)
        bitmap: Any = await self._redis.hget(keys.bitmaps, job_id)
        return None if raw is None else self._machine.decode(raw, bitmap or b"")

    async def states(self) -> AsyncIterator[JobState]:
        """Every known job, without its bitmap, in no order; one that changes meanwhile may come twice.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        for partition in range(self._partitions):
            keys = PartitionKeys(self._topic, partition)
            async for _, raw in self._redis.hscan_iter(keys.states, count=_SCAN_STATES):
                yield self._machine.decode(raw, b"")

    async def trouble(self, job_id: str) -> str | None:
        """Why a job waits by itself, as its owner has told within the last minutes.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        told: Any = await self._redis.hget(PartitionKeys(self._topic, self.partition(job_id)).trouble, job_id)
        return None if told is None else bytes(told).decode("utf-8", "replace")

    async def all_trouble(self) -> dict[str, str]:
        """By job id (or engine) why it waits by itself.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        told: dict[str, str] = {}
        for partition in range(self._partitions):
            noted: Any = await self._redis.hgetall(PartitionKeys(self._topic, partition).trouble)
            told |= {subject.decode(): reason.decode("utf-8", "replace") for subject, reason in noted.items()}
        return told

    async def items_running(self, state: JobState) -> int:
        """How many items without a result are in chunks that a runner holds now; leases are judged by Redis' clock.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        if not state.plan:
            return 0
        keys = PartitionKeys(self._topic, self.partition(state.job_id))
        claims: Any = await self._redis.hmget(keys.claims, [str(state.chunk_id(chunk)) for chunk in state.plan])
        seconds, micros = await self._redis.time()
        now_ms = seconds * 1000 + micros // 1000
        return sum(
            len(missing_items(state.bitmap, chunk.first, chunk.last))
            for chunk, claim in zip(state.plan, claims, strict=True)
            if _is_held(claim, now_ms)
        )


def _is_held(claim: Any, now_ms: int) -> bool:
    """Whether a claim (`held RUNNER RUN LEASE_END`, `dead …`, `done …`) is a lease that still runs."""
    if claim is None:
        return False
    words = bytes(claim).split()
    return words[0] == b"held" and int(words[-1]) > now_ms
