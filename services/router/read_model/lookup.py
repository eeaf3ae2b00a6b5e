"""Reads jobs from Redis as their owners left them there: for answers to people, never for decisions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis

from services.router.jobs.machine import JobMachine
from services.router.jobs.state import JobState
from shared.history.item_bitmap import missing_items
from shared.history.keys import PartitionKeys
from shared.history.settled_state import decoded
from shared.history.states import StateReader

_SCAN_STATES = 500


class JobLookup(StateReader[JobState]):
    """The known jobs of one history topic; see `StateReader`. All reads raise `redis.RedisError` without Redis."""

    def __init__(self, redis: Redis, history_topic: str, partitions: int) -> None:
        super().__init__(redis, history_topic, partitions, JobMachine())

    async def states(self) -> AsyncIterator[JobState]:
        """Every known job, without its bitmap, in no order; one that changes during the scan may come twice."""
        for partition in range(self._partitions):
            keys = PartitionKeys(self._topic, partition)
            async for _, raw in self._redis.hscan_iter(keys.states, count=_SCAN_STATES):
                yield decoded(self._machine, raw, b"")

    async def trouble(self, job_id: str) -> str | None:
        """The trouble that holds up a job, as its owner reported in the last minutes."""
        told: Any = await self._redis.hget(PartitionKeys(self._topic, self.partition(job_id)).trouble, job_id)
        return None if told is None else bytes(told).decode("utf-8", "replace")

    async def all_trouble(self) -> dict[str, str]:
        """The trouble of all jobs and engines, by job id or engine."""
        told: dict[str, str] = {}
        for partition in range(self._partitions):
            noted: Any = await self._redis.hgetall(PartitionKeys(self._topic, partition).trouble)
            told |= {subject.decode(): reason.decode("utf-8", "replace") for subject, reason in noted.items()}
        return told

    async def items_running(self, state: JobState) -> int:
        """How many items without a result are in chunks whose lease still runs, by Redis' clock."""
        if not state.plan:
            return 0
        # Only what is with an engine has a claim: far less than stands in the plan.
        claims: Any = await self._redis.hgetall(PartitionKeys(self._topic, self.partition(state.job_id)).claims)
        seconds, micros = await self._redis.time()
        now_ms = seconds * 1000 + micros // 1000
        held = (state.current(identity.decode()) for identity, claim in claims.items() if _is_held(claim, now_ms))
        return sum(len(missing_items(state.bitmap, chunk.first, chunk.last)) for chunk in held if chunk is not None)


def _is_held(claim: Any, now_ms: int) -> bool:
    """Whether a claim (`held RUNNER RUN LEASE_END`, `dead …`, `done …`) has a lease that still runs."""
    words = bytes(claim).split()
    return words[0] == b"held" and int(words[-1]) > now_ms
