"""What readers of Redis see of jobs and gates, on states that real owners and runners have left there."""

from __future__ import annotations

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from services.router.read_model.lookup import JobLookup
from shared.history.gates import closed_gates
from tests.property.fact_writer import job_id
from tests.property.owner_life import LEASE_SECONDS
from tests.property.running import in_a_world
from tests.property.world import World


def test_jobs_are_found_and_running_items_counted(world_redis: EmbeddedRedis) -> None:
    """Items count as running while a lease on their chunk runs, and until their result is in."""

    async def steps(world: World) -> None:
        lookup = JobLookup(world.redis.client, world.keys.topic, 1)
        world.submit(1, ["a", "b", "c"])
        owner = await world.start_owner()
        await world.work(owner)
        state = await lookup.state(job_id(1))
        assert state == owner.owner.states[job_id(1)]
        assert state is not None
        assert await lookup.items_running(state) == 0
        runner = await world.deliver()
        await world.advance(runner)
        assert await lookup.items_running(state) == 2
        runner.freeze()
        await world.pass_time(LEASE_SECONDS)
        assert await lookup.items_running(state) == 0
        assert await lookup.state(job_id(2)) is None
        await world.settle()
        assert [found.job_id async for found in lookup.states()] == [job_id(1)]
        state = await lookup.state(job_id(1))
        assert state is not None
        assert await lookup.items_running(state) == 0

    in_a_world(world_redis, steps)


def test_gates_are_closed_until_an_owner_opens_them(world_redis: EmbeddedRedis) -> None:
    """Before the first load, after a wipe, and after a restart that kept everything else."""

    async def steps(world: World) -> None:
        async def closed() -> list[int]:
            return await closed_gates(world.redis.client, world.keys.topic, 1)

        assert await closed() == [0]
        await world.start_owner()
        await world.settle()
        assert await closed() == []
        await world.wipe()
        assert await closed() == [0]
        await world.settle()
        assert await closed() == []
        await world.restart_redis(empty=False)
        assert await closed() == [0]
        await world.settle()
        assert await closed() == []

    in_a_world(world_redis, steps)


def test_an_owner_that_has_not_looked_for_long(world_redis: EmbeddedRedis) -> None:
    """It counts as gone. One of an earlier release, which never notes when it looked, does not: its gate is open."""

    async def steps(world: World) -> None:
        await world.start_owner()
        await world.settle()
        long_ago = {"looked": 1}
        await world.redis.client.hset(world.keys.meta, mapping=long_ago)
        assert await closed_gates(world.redis.client, world.keys.topic, 1) == [0]
        await world.redis.client.hset(world.keys.meta, "token", "as an earlier release's load writes it")
        assert await closed_gates(world.redis.client, world.keys.topic, 1) == []

    in_a_world(world_redis, steps)
