"""The runner's side of claims: take a chunk, renew, finish; each one Lua call, judged by Redis' clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from redis.asyncio import Redis

from shared.history.chunk_id import ChunkId
from shared.history.item_bitmap import missing_items
from shared.history.keys import PartitionKeys, annex_field
from shared.history.scripts import lua_script

GIVEN_SPEC_BYTES = 8 * 1024
"""A specification of at most so many bytes comes with the claim; a larger one is read by who does not have it yet."""


class AnnexedSpec(NamedTuple):
    """What runners need to know of a job, and what facts have added to it, if any has."""

    spec: bytes
    annex: bytes | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """The chunk is held; run exactly these items.

    Attributes:
        mark: tells the job from others with its id.
        spec: as of the claim; None if it is large.
    """

    missing: tuple[int, ...]
    mark: str
    spec: AnnexedSpec | None = None


class ClaimRefusal(Enum):
    """Why a chunk was not claimed."""

    NOT_YET = "not_yet"
    """The gate is closed or the job is not known yet: put the task back and wait, never run."""
    LEAVE = "leave"
    """Ended, replaced, or claimed by another run, living or not: acknowledge the task and leave."""


class Renewal(Enum):
    """What a renewal says."""

    HELD = "held"
    JOB_ENDED = "job_ended"
    CLAIM_LOST = "claim_lost"
    NOT_CURRENT = "not_current"


class ClaimStore:
    """Claims on the chunks of one history topic.

    Args:
        redis: a client with `decode_responses=False`.
        topic: the history topic's full name.
        lease_ms: how long a claim lives without renewal, in milliseconds.
    """

    def __init__(self, redis: Redis, topic: str, *, lease_ms: int) -> None:
        self._redis = redis
        self._topic = topic
        self._lease_ms = lease_ms
        self._claim = redis.register_script(lua_script("claim"))
        self._renew = redis.register_script(lua_script("renew"))
        self._finish = redis.register_script(lua_script("finish"))

    async def claim(self, partition: int, chunk: ChunkId, *, runner: str, run: str) -> Claimed | ClaimRefusal:
        """Take the lease on a chunk for one run; asking again for the same run extends it.

        `run` must be fresh for each execution of a task, so that a task that is delivered twice is refused.

        Raises:
            redis.RedisError: Redis did not answer; nothing is known, ask again.
        """
        keys = PartitionKeys(self._topic, partition)
        first_byte, last_byte = chunk.first >> 3, chunk.last >> 3
        answer, bits, *given = await self._claim(
            keys=[keys.meta, keys.states, keys.specs, keys.current, keys.claims, keys.bitmaps],
            args=[
                *(chunk.job_id, str(chunk), runner, run, self._lease_ms, first_byte, last_byte),
                *(annex_field(chunk.job_id), GIVEN_SPEC_BYTES),
            ],
        )
        if answer != b"held":
            return ClaimRefusal(answer.decode())
        mark, *spec = given
        missing = missing_items(bytes(first_byte) + bits, chunk.first, chunk.last)
        return Claimed(missing, mark.decode(), AnnexedSpec(*spec) if spec else None)

    async def renew(self, partition: int, chunk: ChunkId, *, runner: str, run: str, mark: str) -> Renewal:
        """Extend the lease, or learn that the run must be killed; `mark` is what the claim said.

        Raises:
            redis.RedisError: Redis did not answer; a run that cannot renew for a lease kills itself.
        """
        keys = PartitionKeys(self._topic, partition)
        answer = await self._renew(
            keys=[keys.meta, keys.states, keys.specs, keys.current, keys.claims],
            args=[chunk.job_id, str(chunk), runner, run, self._lease_ms, mark],
        )
        return Renewal(answer.decode())

    async def finish(self, partition: int, chunk: ChunkId, *, runner: str, run: str) -> None:
        """Mark the claim done, once Kafka has acknowledged all results."""
        keys = PartitionKeys(self._topic, partition)
        await self._finish(keys=[keys.claims], args=[str(chunk), runner, run])

    async def spec(self, partition: int, job_id: str) -> bytes | None:
        """What runners need to know of a job; None when it is not known or has ended."""
        value: Any = await self._redis.hget(PartitionKeys(self._topic, partition).specs, job_id)
        return None if value is None else bytes(value)

    async def annexed_spec(self, partition: int, job_id: str) -> AnnexedSpec | None:
        """A job's specification with its annex; None as in `spec`."""
        keys = PartitionKeys(self._topic, partition)
        values: Any = await self._redis.hmget(keys.specs, [job_id, annex_field(job_id)])
        spec, annex = values
        return None if spec is None else AnnexedSpec(spec, annex)
