"""What an owner that loads from the log's start does to the world: as little as there is left to do."""

from __future__ import annotations

import pytest

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from tests.property.memory_log import ProduceFault
from tests.property.promises import check_all, check_redis
from tests.property.running import in_a_world
from tests.property.world import World

ENDED = 2000
UNFINISHED = 5


async def _many_jobs(world: World) -> int:
    """Some ended jobs, with the results of unseen runners, and a few unfinished ones in between."""
    owner = await world.start_owner()
    for number in range(1, ENDED + 1):
        world.submit(number, ["a"])
    await world.work(owner)
    for number in range(1, ENDED + 1):
        world.results(number, 0)
    await world.work(owner)
    for number in range(ENDED + 1, ENDED + UNFINISHED + 1):
        world.submit(number, ["a", "b", "c"], labels={"chunk": "1"})
    await world.work(owner)
    for number in range(ENDED + 1, ENDED + UNFINISHED + 1):
        world.results(number, 1)
    await world.work(owner)
    world.kill(owner)
    return len(world.log.public)


@pytest.mark.parametrize("wiped", [False, True], ids=["Redis kept", "Redis lost"])
def test_restart_over_many_ended_and_few_unfinished_jobs(
    world_redis: EmbeddedRedis,
    wiped: bool,  # noqa: FBT001 - a parameter of pytest's
) -> None:
    """Over 2,000 ended jobs nothing is published or dispatched; of 5 unfinished ones exactly the missing items are run.

    With Redis lost, the progress of jobs without an end is published again, byte by byte as it was.
    """

    async def steps(world: World) -> None:
        world.window_size = 4 * UNFINISHED
        published = await _many_jobs(world)
        world.queue.clear()
        if wiped:
            await world.wipe()
        facts = world.log.end
        owner = await world.start_owner()
        await world.work(owner)
        again = world.log.public[published:]
        assert world.log.end == facts
        first = {record.header("ce_id"): record.value for record in world.log.public[:published]}
        assert len(again) == (UNFINISHED if wiped else 0)
        assert all(first[record.header("ce_id")] == record.value for record in again)
        chunks = sorted((task.chunk_id.job_id[-3:], task.chunk_id.first) for task in world.queue)
        numbers = range(ENDED + 1, ENDED + UNFINISHED + 1)
        assert chunks == [(f"{number:x}"[-3:], item) for number in numbers for item in (0, 2)]
        await world.settle()
        check_all(world)
        await check_redis(world)
        assert set(world.witness.executions.values()) == {1}
        assert len(world.witness.executions) == 2 * UNFINISHED

    in_a_world(world_redis, steps)


async def _one_job_and_a_mortal_owner(world: World, calls: int) -> bool:
    """A held job, approved and run; its owner dies after some calls, which is the answer: whether it did."""
    world.submit(1, ["a", "costs", "fail"], max_failed=1, labels={"hold": "1"})
    owner = await world.start_owner()
    left = calls

    async def work() -> None:
        nonlocal owner, left
        if left:
            left -= await world.work(owner, most=left)
            if left:
                return
            world.kill(owner)
            owner = await world.start_owner()
        await world.work(owner)

    await work()
    world.decide(1, approve=True)
    await work()
    await world.run_all()
    await work()
    return left == 0


def test_owner_killed_at_each_of_its_calls(world_redis: EmbeddedRedis) -> None:
    """One job, and an owner that dies after its first call, its second, and so on; the next one goes on with it."""
    calls, died = 0, True

    async def steps(world: World) -> None:
        nonlocal died
        died = await _one_job_and_a_mortal_owner(world, calls)
        await world.settle()
        check_all(world)
        await check_redis(world)

    while died:
        calls += 1
        in_a_world(world_redis, steps)
    assert calls > 20


@pytest.mark.parametrize("fault", ["lost", "ambiguous", "partial"])
def test_each_produce_call_fails_once(world_redis: EmbeddedRedis, fault: ProduceFault) -> None:
    """One job, and one produce call that fails: the first one of all, the second, and so on."""
    failed, number = True, 0

    async def steps(world: World) -> None:
        nonlocal failed
        world.log.faults.extend([*[None] * number, fault])
        await _one_job_and_a_mortal_owner(world, 1000)
        await world.settle(keep_faults=True)
        failed = not world.log.faults
        check_all(world)
        await check_redis(world)

    while failed:
        in_a_world(world_redis, steps)
        number += 1
    assert number > 6
