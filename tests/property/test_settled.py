"""What Redis keeps of settled jobs: packed, in the order in which they settled, and as long as their facts."""

from __future__ import annotations

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from shared.history.settled_state import unpacked
from tests.property.fact_writer import job_id
from tests.property.running import in_a_world, settle
from tests.property.world import World

_MANY = 1200
"""More than an owner writes or forgets in one call."""


async def _listed(world: World) -> list[tuple[int, str]]:
    with world.pulse:
        entries = await world.redis.client.lrange(world.keys.settled, 0, -1)
    pairs = (entry.decode().split(" ", 1) for entry in entries)
    return [(int(offset), subject) for offset, subject in pairs]


async def _as_an_earlier_release_left_it(world: World) -> None:
    client, keys = world.redis.client, world.keys
    with world.pulse:
        for name, value in (await client.hgetall(keys.states)).items():
            await client.hset(keys.states, name, unpacked(value))
        await client.hdel(keys.meta, "live")
        await client.delete(keys.live, keys.settled)


def test_many_jobs_of_an_earlier_release_are_packed_and_then_forgotten(world_redis: EmbeddedRedis) -> None:
    """The first load of this release writes them anew; retention takes them all, and a live job stays."""

    async def steps(world: World) -> None:
        for number in range(2, _MANY + 2):
            world.cancel(number)
        owner = await world.start_owner()
        await world.work(owner)
        world.submit(1, ["a"])
        await world.work(owner)
        world.kill(owner)
        await _as_an_earlier_release_left_it(world)
        owner = await world.start_owner()
        await world.work(owner)
        assert set(owner.owner.states) == {job_id(1)}
        assert await world.redis.members("live") == {job_id(1)}
        listed = await _listed(world)
        assert listed == sorted(listed)
        assert {subject for _, subject in listed} == {job_id(number) for number in range(2, _MANY + 2)}
        states = await world.redis.content("states")
        assert {name for name, value in states.items() if value.startswith(b"z1 ")} == {name for _, name in listed}
        world.log.trim(world.log.end - 2)  # of the submit and its route
        await world.pass_time(700)
        await world.work(owner)
        assert set(await world.redis.content("states")) == {job_id(1)}
        assert await _listed(world) == []
        await settle(world)

    in_a_world(world_redis, steps)


def test_a_settled_job_that_has_another_fact_stays_as_long_as_that(world_redis: EmbeddedRedis) -> None:
    """Retention comes to it by its first entry, finds the later fact, and lists it anew."""

    async def steps(world: World) -> None:
        for number in (1, 2):
            world.cancel(number)
        owner = await world.start_owner()
        await world.work(owner)
        world.cancel(1)
        await world.work(owner)
        last = world.log.end - 1
        assert [subject for _, subject in await _listed(world)] == [job_id(1), job_id(2)]
        world.log.trim(last)
        await world.pass_time(700)
        await world.work(owner)
        assert await _listed(world) == [(last, job_id(1))]
        assert set(await world.redis.content("states")) == {job_id(1)}
        world.log.trim(last + 1)
        await world.pass_time(700)
        await world.work(owner)
        assert await world.redis.content("states") == {}

    in_a_world(world_redis, steps)


def test_an_owner_holds_live_jobs_alone(world_redis: EmbeddedRedis) -> None:
    """Ended ones are not in its memory, nor after the next load; a repeat finds them all the same."""

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        owner = await world.start_owner()
        await world.work(owner)
        assert set(owner.owner.states) == {job_id(1)}
        await world.run_all()
        await world.work(owner)
        assert owner.owner.states == {}
        world.repeat(1)
        await world.work(owner)
        assert owner.owner.states == {}
        world.kill(owner)
        owner = await world.start_owner()
        await world.work(owner)
        assert owner.owner.is_open
        assert owner.owner.states == {}
        assert world.witness.executions == {(job_id(1), 0): 1}
        await settle(world)

    in_a_world(world_redis, steps)
