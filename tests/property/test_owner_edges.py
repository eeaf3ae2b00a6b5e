"""The owner's rarer ways: dependencies that are down, a full window, forgetting, logs and snapshots that do not fit."""

from __future__ import annotations

import pytest

from eldermesh.contract.topics import JOBS_DONE, JOBS_PROGRESS
from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from shared.history.snapshot import PartitionStore
from tests.property.expectations import expect_end
from tests.property.fact_writer import job_id
from tests.property.owner_life import HOLD_SECONDS, LOOK_SECONDS
from tests.property.running import in_a_world, retention, settle, working_owner
from tests.property.world import World


def test_a_decision_that_cannot_be_made_is_asked_for_again(world_redis: EmbeddedRedis) -> None:
    """A second later, not at once; other jobs do not wait for it."""

    async def steps(world: World) -> None:
        world.may_decide = False
        world.submit(1, ["a"], labels={"later": "1"})
        world.submit(2, ["a"])
        owner = await working_owner(world)
        assert [task.chunk_id.job_id for task in world.queue] == [job_id(2)]
        await world.pass_time(120)
        await world.work(owner)
        world.may_decide = True
        await settle(world)
        expect_end(world, 1, "completed")

    in_a_world(world_redis, steps)


def test_an_engine_that_is_down_is_asked_again(world_redis: EmbeddedRedis) -> None:
    """Nothing is in the window meanwhile, and facts are folded; the longer it is down, the more seldom it is asked."""

    async def steps(world: World) -> None:
        world.engine_is_down = True
        world.submit(1, ["a"])
        owner = await working_owner(world)
        assert world.queue == []
        world.submit(2, ["a"])
        await world.work(owner)
        assert [record.fact_type for record in world.log.records].count("job.routed") == 2
        await world.pass_time(LOOK_SECONDS)
        await world.advance_to(owner, "dispatch")
        world.engine_is_down = False
        await settle(world)

    in_a_world(world_redis, steps)


def test_a_full_window_leaves_chunks_waiting(world_redis: EmbeddedRedis) -> None:
    """At most as many chunks as it holds are with the engine; a finished one makes room, for the oldest job first."""

    async def steps(world: World) -> None:
        world.window_size = 2
        world.submit(1, ["a", "b", "c"], labels={"chunk": "1"})
        world.submit(2, ["a"])
        owner = await working_owner(world)
        assert [task.chunk_id.first for task in world.queue] == [0, 1]
        await world.run(await world.deliver())
        await world.work(owner)
        assert [(task.chunk_id.job_id, task.chunk_id.first) for task in world.queue] == [(job_id(1), 1), (job_id(1), 2)]
        await settle(world)

    in_a_world(world_redis, steps)


def test_a_paused_jobs_tasks_are_not_sent_again(world_redis: EmbeddedRedis) -> None:
    """However long nobody claims them."""

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        owner = await working_owner(world)
        world.queue.clear()
        world.pause(1, 20 * 3600)
        await world.work(owner)
        for _ in range(4):
            await world.pass_time(4 * 3600)
            await world.work(owner)
        assert world.queue == []
        await settle(world)

    in_a_world(world_redis, steps)


def test_a_decision_on_its_way_is_not_made_again(world_redis: EmbeddedRedis) -> None:
    """Until the fold has passed it, however often the owner asks what is due."""

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        owner = await world.start_owner()
        await world.advance_to(owner, "append")
        await world.advance(owner)
        world.records_at_once = 0
        await world.pass_time(120)
        await world.advance(owner, 20)
        assert [record.fact_type for record in world.log.records] == ["job.accepted", "job.routed"]
        world.records_at_once = 500
        await settle(world)

    in_a_world(world_redis, steps)


def test_a_dead_chunk_is_planned_once(world_redis: EmbeddedRedis) -> None:
    """While its plan is on the way the owner looks again, and asks for nothing."""

    async def steps(world: World) -> None:
        world.submit(1, ["a", "b"])
        owner = await working_owner(world)
        runner = await world.deliver()
        await world.advance_to(runner, "item")
        world.kill(runner)
        await world.pass_time(950)
        await world.advance_to(owner, "append")
        await world.advance(owner)
        world.records_at_once = 0  # the owner does not get to read its plan
        await world.pass_time(120)
        await world.advance(owner, 20)
        assert [record.fact_type for record in world.log.records].count("job.replanned") == 1
        world.records_at_once = 500
        await settle(world)

    in_a_world(world_redis, steps)


def test_states_go_with_the_last_of_their_facts(world_redis: EmbeddedRedis) -> None:
    """Not before: a repeat finds an ended job as long as one of its facts is in the log. Stubs go the same way."""

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        world.cancel(1)
        world.cancel(7)
        owner = await working_owner(world)
        mark = world.log.end - 1
        await retention(world, owner, mark)
        assert set(await world.redis.content("states")) == {job_id(1)}
        assert owner.owner.states == {}
        await retention(world, owner, mark + 1)
        assert await world.redis.content("states") == {}
        assert owner.owner.is_open

    in_a_world(world_redis, steps)


def test_an_id_whose_facts_are_gone_makes_a_new_job(world_redis: EmbeddedRedis) -> None:
    """Of the new one everything is published, though its owner has once passed over the old one's results."""

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        owner = await working_owner(world)
        await world.run_all()
        await world.work(owner)
        await world.wipe()
        await world.pass_time(60)
        await world.work(owner)
        await retention(world, owner, world.log.end)
        published = len(world.log.public)
        world.submit(1, ["a"])
        await world.work(owner)
        await world.run_all()
        await world.work(owner)
        assert [record.topic for record in world.log.public[published:]] == [JOBS_PROGRESS, JOBS_DONE]

    in_a_world(world_redis, steps)


def test_a_log_that_gives_nothing_empties_nothing(world_redis: EmbeddedRedis) -> None:
    """An owner that loads while the broker is slow tries again; the snapshot stays as it is."""

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        await working_owner(world)
        world.records_at_once = 0
        other = await world.start_owner()
        await world.advance_to(other, "back_off")
        assert set(await world.redis.content("states")) == {job_id(1)}
        assert other.owner.states == {}
        assert not other.owner.is_open
        world.records_at_once = 500
        await settle(world)

    in_a_world(world_redis, steps)


def test_a_snapshot_of_another_log_is_thrown_away(world_redis: EmbeddedRedis) -> None:
    """`applied` lies inside the log, but the record before it is not the one remembered: load again from the start."""

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        owner = await working_owner(world)
        world.kill(owner)
        world.queue.clear()
        applied = len(world.log.records)
        world.log.records.clear()
        world.submitted.clear()
        for number in range(2, 2 + applied):
            world.submit(number, ["a"])
        await settle(world)
        assert job_id(1) not in await world.redis.content("states")

    in_a_world(world_redis, steps)


def test_states_without_a_place_in_the_log_are_thrown_away(world_redis: EmbeddedRedis) -> None:
    """Redis lost `applied` and kept states: nobody knows what they are of."""

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        owner = await working_owner(world)
        world.kill(owner)
        await world.redis.client.hdel(world.keys.meta, "applied")
        await settle(world)

    in_a_world(world_redis, steps)


def test_ended_jobs_without_a_place_in_the_log_are_thrown_away(world_redis: EmbeddedRedis) -> None:
    """Redis lost all of `meta` and kept what has ended in another log: an id of that log is a new job in this one."""

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        owner = await working_owner(world)
        await world.run_all()
        await world.work(owner)
        world.kill(owner)
        await world.redis.client.delete(world.keys.meta)
        world.log.records.clear()
        world.submit(1, ["a"])
        owner = await working_owner(world)
        assert set(owner.owner.states) == {job_id(1)}
        assert await world.redis.settled() == []

    in_a_world(world_redis, steps)


def test_a_partition_that_lost_its_place_and_all_states_begins_anew(world_redis: EmbeddedRedis) -> None:
    """Of `meta` only what says which jobs are live is there: the owner reads the log from its start."""

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        await world.redis.client.hset(world.keys.meta, "live", 3)
        await settle(world)
        expect_end(world, 1, "completed")

    in_a_world(world_redis, steps)


def test_a_snapshot_that_never_fits_is_given_up_for_now(
    world_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody spoils it each time it is emptied: the owner confirms its assignment before it tries again."""

    async def spoilt(*_: object) -> None:
        """Nothing is emptied."""

    async def steps(world: World) -> None:
        await world.redis.client.hset(world.keys.meta, "applied", 99)
        with monkeypatch.context() as patch:
            patch.setattr(PartitionStore, "empty", spoilt)
            owner = await world.start_owner()
            await world.advance_to(owner, "confirm")
        world.submit(1, ["a"])
        await settle(world)

    in_a_world(world_redis, steps)


def test_retention_overtakes_an_owner(world_redis: EmbeddedRedis) -> None:
    """What it was to read next is gone: it loads again, and goes on from the log's start."""

    async def steps(world: World) -> None:
        await working_owner(world)
        world.cancel(5)
        world.cancel(6)
        world.log.trim(2)
        world.submit(1, ["a"])
        await settle(world)

    in_a_world(world_redis, steps)


def test_an_owner_wakes_for_its_next_timer(world_redis: EmbeddedRedis) -> None:
    """It waits for facts no longer than until the earliest deadline, and after a load not at all."""

    async def steps(world: World) -> None:
        world.idle_seconds = 10.0 * 86400
        world.submit(1, ["a"], labels={"hold": "1"})
        owner = await world.start_owner()
        await world.advance_to(owner, "read")
        await world.advance(owner)
        assert world.last_wait == 0
        await world.work(owner)
        assert world.last_wait == HOLD_SECONDS / 2, "the reminder"
        await world.pass_time(HOLD_SECONDS - 10)
        await world.work(owner)
        assert world.last_wait == 10
        await settle(world)
        expect_end(world, 1, "rejected")

    in_a_world(world_redis, steps)


def test_all_states_go_at_once(world_redis: EmbeddedRedis) -> None:
    """However many there are: an owner that forgot a fixed number a minute would fall behind a busy partition."""

    async def steps(world: World) -> None:
        for number in range(1, 701):
            world.cancel(number)
        owner = await working_owner(world)
        await retention(world, owner, world.log.end)
        assert await world.redis.content("states") == {}
        assert not owner.owner.states

    in_a_world(world_redis, steps)
