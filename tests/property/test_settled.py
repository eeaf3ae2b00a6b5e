"""What Redis keeps of settled jobs: packed, in the order in which they settled, and as long as their facts."""

from __future__ import annotations

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from shared.facts.jobs import JobCancelRequested
from tests.property.fact_writer import job_id
from tests.property.running import in_a_world, retention, settle, working_owner
from tests.property.world import World

_MANY = 1200
"""More than an owner writes or forgets in one call."""


def test_many_jobs_of_an_earlier_release_are_packed_and_then_forgotten(world_redis: EmbeddedRedis) -> None:
    """The first load of this release writes them anew; retention takes them all, and a live job stays."""

    async def steps(world: World) -> None:
        for number in range(2, _MANY + 2):
            world.cancel(number)
        owner = await working_owner(world)
        world.submit(1, ["a"])
        await world.work(owner)
        world.kill(owner)
        await world.redis.as_an_earlier_release_wrote_it()
        owner = await working_owner(world)
        assert set(owner.owner.states) == {job_id(1)}
        assert await world.redis.members("live") == {job_id(1)}
        listed = await world.redis.settled()
        assert listed == sorted(listed)
        assert {subject for _, subject in listed} == {job_id(number) for number in range(2, _MANY + 2)}
        states = await world.redis.content("states")
        assert {name for name, value in states.items() if value.startswith(b"z1 ")} == {name for _, name in listed}
        await retention(world, owner, world.log.end - 2)  # of the submit and its route
        assert set(await world.redis.content("states")) == {job_id(1)}
        assert await world.redis.settled() == []
        await settle(world)

    in_a_world(world_redis, steps)


def test_a_settled_job_that_has_another_fact_stays_as_long_as_that(world_redis: EmbeddedRedis) -> None:
    """And no longer, though others have settled since: retention comes to each fact in the log's order."""

    async def steps(world: World) -> None:
        world.cancel(1)
        owner = await working_owner(world)
        world.cancel(2)
        await world.work(owner)
        world.cancel(1)
        await world.work(owner)
        last = world.log.end - 1
        world.cancel(3)
        await world.work(owner)
        await retention(world, owner, last)
        assert set(await world.redis.content("states")) == {job_id(1), job_id(3)}
        await retention(world, owner, last + 1)
        assert set(await world.redis.content("states")) == {job_id(3)}

    in_a_world(world_redis, steps)


def test_what_is_kept_of_a_job_that_is_named_again_and_again_does_not_grow(world_redis: EmbeddedRedis) -> None:
    """A nightly submit of one id: retention takes the old facts, never the last one."""

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        owner = await working_owner(world)
        await world.run_all()
        await world.work(owner)
        for _ in range(10):
            world.repeat(1)
            await world.work(owner)
            last = world.log.end - 1
            await retention(world, owner, last - 1)
            assert await world.redis.settled() == [(last, job_id(1))]
        assert world.witness.executions == {(job_id(1), 0): 1}

    in_a_world(world_redis, steps)


def test_a_fact_without_a_key_does_not_stop_retention(world_redis: EmbeddedRedis) -> None:
    """Whoever may write into a history may write that; what is listed behind it is forgotten all the same."""

    async def steps(world: World) -> None:
        world.fact("", JobCancelRequested(reason=None, inbox=world.inbox()))
        world.cancel(1)
        owner = await working_owner(world)
        assert set(await world.redis.content("states")) == {"", job_id(1)}
        await retention(world, owner, world.log.end)
        assert await world.redis.content("states") == {}

    in_a_world(world_redis, steps)


def test_an_owner_holds_live_jobs_alone(world_redis: EmbeddedRedis) -> None:
    """Ended ones are not in its memory, nor after the next load; a repeat finds them all the same."""

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        owner = await working_owner(world)
        assert set(owner.owner.states) == {job_id(1)}
        await world.run_all()
        await world.work(owner)
        assert owner.owner.states == {}
        world.repeat(1)
        await world.work(owner)
        assert owner.owner.states == {}
        world.kill(owner)
        owner = await working_owner(world)
        assert owner.owner.is_open
        assert owner.owner.states == {}
        assert world.witness.executions == {(job_id(1), 0): 1}
        await settle(world)

    in_a_world(world_redis, steps)


def test_an_owner_that_has_caught_up_does_not_remember_what_had_ended_before(world_redis: EmbeddedRedis) -> None:
    """While it catches up it has to: results of ended jobs were published long ago."""

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        owner = await working_owner(world)
        await world.run_all()
        await world.work(owner)
        world.kill(owner)
        await world.wipe()
        world.records_at_once = 1
        owner = await world.start_owner()
        await world.advance_to(owner, "advance")
        memory = owner.owner._memory  # noqa: SLF001 - nobody else asks for it
        assert memory is not None
        assert memory.marked_ahead == {job_id(1)}
        await world.work(owner)
        assert memory.is_caught_up
        assert memory.marked_ahead == frozenset()
        await settle(world)

    in_a_world(world_redis, steps)
