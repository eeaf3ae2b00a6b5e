"""What owners keep of measured quantities in Redis, and what the policy of any router reads of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from services.router.jobs.observation import Kind, Observation
from services.router.policy.adaptive.evidence import Evidence, Known
from shared.errors import LostOwnershipError
from shared.history.clock import SystemClock
from shared.history.keys import PartitionKeys
from shared.history.machine import Measurement
from shared.history.snapshot import Advance, Guard, PartitionStore
from tests.unit.runs import MovedClock

KIND = Kind("python", "math:sqrt")
KEPT = 32


@pytest.fixture
async def redis(redis_server: str) -> AsyncIterator[Redis]:
    """A client of the session's Redis."""
    async with aclosing(Redis.from_url(redis_server)) as client:
        yield client


@pytest.fixture
def topic() -> str:
    """A history of this test alone."""
    return f"{uuid4().hex}.jobs.history"


class Partition:
    """One partition, as its owner writes it."""

    def __init__(self, redis: Redis, topic: str, number: int) -> None:
        self.keys = PartitionKeys(topic, number)
        self.store = PartitionStore(redis, self.keys)
        self.guard: Guard | None = None
        self.applied = 0

    async def observed(self, *seen: Observation, engine: str = "celery") -> None:
        """A batch of facts, each with an observation."""
        guard = self.guard or (await self.store.load("token")).guard
        self.applied += len(seen)
        measurements = [Measurement(f"{engine} python math:sqrt", each.text()) for each in seen]
        self.guard = await self.store.advance(guard, Advance(self.applied, "hash", measurements=measurements))


def at(milliseconds: int, seconds: float = 0.01) -> Observation:
    """An observation at that time."""
    return Observation(milliseconds, seconds, None, 0.005)


async def test_the_newest_are_kept_of_each_quantity(redis: Redis, topic: str) -> None:
    """The newest first, whether they come one by one or in one batch; others are left alone."""
    partition = Partition(redis, topic, 0)
    await partition.observed(at(1, 9.0), engine="ray")
    for number in range(10):
        await partition.observed(at(number))
    await partition.observed(*(at(number) for number in range(10, 50)))
    kept: Any = await redis.hgetall(partition.keys.measurements)
    values = kept[b"celery python math:sqrt"].split(b" ")
    assert [Observation.parse(value.decode()).at_ms for value in values] == list(range(49, 49 - KEPT, -1))
    assert kept[b"ray python math:sqrt"] == at(1, 9.0).text().encode()


async def test_an_owner_that_was_overtaken_measures_nothing(redis: Redis, topic: str) -> None:
    """What it saw is seen by the next one: no fact counts twice."""
    partition = Partition(redis, topic, 0)
    await partition.observed(at(1))
    await partition.store.load("another")
    with pytest.raises(LostOwnershipError):
        await partition.observed(at(2))
    assert await redis.hget(partition.keys.measurements, "celery python math:sqrt") == at(1).text().encode()


async def test_a_partition_that_is_thrown_away(redis: Redis, topic: str) -> None:
    """Goes with all that it has measured: the log will tell it again."""
    partition = Partition(redis, topic, 0)
    await partition.observed(at(1))
    assert partition.guard is not None
    await partition.store.empty(partition.guard)
    assert not await redis.exists(partition.keys.measurements)


async def test_something_else_under_the_key(redis: Redis, topic: str) -> None:
    """Facts are applied all the same, and jobs are routed without it."""
    partition = Partition(redis, topic, 0)
    await partition.observed(at(1))
    await redis.delete(partition.keys.measurements)
    await redis.set(partition.keys.measurements, "something else")
    with pytest.raises(ResponseError):
        await partition.observed(at(2))
    assert await redis.hget(partition.keys.meta, "applied") == b"2"
    assert await Evidence(redis, [partition.keys], SystemClock()).of(KIND) == Known()


async def test_quantities_are_bounded(redis: Redis, topic: str) -> None:
    """A thousand of a partition: with the next one another goes."""
    partition = Partition(redis, topic, 0)
    await partition.observed(at(1))
    await redis.hset(partition.keys.measurements, mapping={f"other {number}": "1" for number in range(999)})
    await partition.observed(at(2), engine="ray")
    assert await redis.hlen(partition.keys.measurements) == 1000
    assert await redis.hexists(partition.keys.measurements, "ray python math:sqrt")


async def test_every_router_reads_the_same(redis: Redis, topic: str) -> None:
    """Of all partitions, and again only after half a second: decisions come by the hundred."""
    partitions = [Partition(redis, topic, number) for number in range(4)]
    keys = [partition.keys for partition in partitions]
    for number, partition in enumerate(partitions):
        await partition.observed(at(number, 0.01 * (number + 1)), at(100 + number, 0.02))
    clock = MovedClock()
    one, two = Evidence(redis, keys, clock), Evidence(redis, keys, SystemClock())
    known = await one.of(KIND)
    assert known == await two.of(KIND)
    assert known.costs.keys() == {"celery"}
    assert one.item_seconds(KIND, "celery") == known.costs["celery"].seconds
    await partitions[0].observed(at(200, 0.04), engine="ray")
    assert await one.of(KIND) == known
    clock.move(1.0)
    assert (await one.of(KIND)).last == "ray"
