"""What a runner is given with its claim, on a real Redis; only the owner is played."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from redis.asyncio import Redis

from shared.history.keys import PartitionKeys, annex_field
from shared.history.runs.claims import GIVEN_SPEC_BYTES, AnnexedSpec, Claimed, ClaimStore
from shared.redis_client import make_redis
from shared.settings import Settings
from tests.integration.played_owner import PlayedOwner


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    """A client of the runner's."""
    async with aclosing(make_redis(settings)) as client:
        yield client


async def test_a_small_specification_comes_with_its_claim(owner: PlayedOwner, redis: Redis) -> None:
    """With its annex, where facts have added one: a chunk of a small job takes one call until it runs."""
    (task,) = await owner.plan([1])
    claims, job_id = ClaimStore(redis, owner.topic, lease_ms=60_000), task.chunk_id.job_id
    given = await claims.claim(0, task.chunk_id, runner="w", run="r")
    assert isinstance(given, Claimed)
    assert given.spec is not None
    assert given.spec == await claims.annexed_spec(0, job_id)
    assert given.spec.annex is None
    specs = PartitionKeys(owner.topic, 0).specs
    await redis.hset(specs, annex_field(job_id), "[]")
    given = await claims.claim(0, task.chunk_id, runner="w", run="r")
    assert isinstance(given, Claimed)
    assert given.spec is not None
    assert given.spec.annex == b"[]"


@pytest.mark.parametrize("size", [GIVEN_SPEC_BYTES, GIVEN_SPEC_BYTES + 1])
async def test_a_large_specification_is_left_for_those_who_lack_it(owner: PlayedOwner, redis: Redis, size: int) -> None:
    """All chunks of a job have the same, and a process keeps it."""
    (task,) = await owner.plan([1])
    spec = b"x" * size
    await redis.hset(PartitionKeys(owner.topic, 0).specs, task.chunk_id.job_id, spec)
    given = await ClaimStore(redis, owner.topic, lease_ms=60_000).claim(0, task.chunk_id, runner="w", run="r")
    assert isinstance(given, Claimed)
    assert given.spec == (AnnexedSpec(spec, None) if size <= GIVEN_SPEC_BYTES else None)
