"""Directed runs around Redis that forgets: gates, guards, load tokens, and runs that are stopped meanwhile."""

from __future__ import annotations

from tests.property.expectations import expect_end
from tests.property.owner_life import LEASE_SECONDS, LOOK_SECONDS
from tests.property.world import World


async def frozen_across_a_wipe(world: World) -> None:
    """Redis is wiped while a run is stopped; it sends no heartbeat, and its lease goes on."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    frozen = await world.deliver(keep=True)
    await world.advance_to(frozen, "item")
    frozen.freeze()
    await world.wipe()
    await world.pass_time(LOOK_SECONDS)
    await world.work(owner)
    await world.pass_time(LEASE_SECONDS / 2 + 10)
    await world.work(owner)
    await world.run(await world.deliver())


async def wiped_behind_a_route(world: World) -> None:
    """Redis is wiped while a run is stopped, the last fact is its job's route, and the owner reads fact by fact."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    frozen = await world.deliver(keep=True)
    await world.advance_to(frozen, "item")
    frozen.freeze()
    await world.wipe()
    world.records_at_once = 1
    await world.pass_time(LOOK_SECONDS)
    await world.work(owner)
    await world.run(await world.deliver())


async def older_file_with_the_same_guard(world: World) -> None:
    """While an owner waits to open the gate, Redis restarts from a file of that wait; a run was stopped in between."""
    await _older_file_in_the_wait(world)
    await world.work(world.owners[0])
    await world.run(await world.deliver())


async def older_file_and_new_facts(world: World) -> None:
    """As before, and another job comes before the owner's lease of waiting is over."""
    await _older_file_in_the_wait(world)
    world.submit(2, ["a"])
    await world.work(world.owners[0])
    await world.run(await world.deliver())


async def _older_file_in_the_wait(world: World) -> None:
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver(keep=True)
    await world.advance_to(runner, "item")
    await world.wipe()
    await world.pass_time(70)
    await world.work(owner)  # it has loaded, folded all there is, and waits
    await world.remember()
    await world.pass_time(240)  # the run's heartbeat takes its claim again
    runner.freeze()
    await world.pass_time(600)
    await world.roll_back(restart=True)  # same `applied`, same token, without the claim
    await world.pass_time(70)  # a lease since the load is over, and not a lease since the heartbeat


async def gate_opened_by_a_late_call(world: World) -> None:
    """A call that opens the gate is given up by its owner, and comes through when Redis was wiped and loaded again."""
    owner = await world.start_owner()
    await world.advance_to(owner, "open_gate")
    world.redis.faults.append("late")
    await world.advance(owner)
    await world.work(owner)
    world.submit(1, ["a", "b"])
    await world.work(owner)
    frozen = await world.deliver(keep=True)
    await world.advance_to(frozen, "item")
    frozen.freeze()
    await world.wipe()
    await world.pass_time(LOOK_SECONDS)
    await world.advance_to(owner, "load")
    await world.advance(owner)
    await world.redis.land()
    await world.work(owner)
    await world.run(await world.deliver())


async def stray_claim_after_a_wipe(world: World) -> None:
    """After a wipe a run renews its claim on a chunk that somebody else has finished, and dies."""
    world.submit(1, ["a", "b", "c", "d"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver()
    await world.advance_to(runner, "item")
    world.results(1, 0, 1)
    await world.work(owner)
    await world.wipe()
    await world.pass_time(LOOK_SECONDS)
    await world.work(owner)
    await world.pass_time(300)
    world.kill(runner)


async def two_owners_find_a_snapshot_that_does_not_fit(world: World) -> None:
    """The log has lost its tail; one owner is about to empty Redis when another one has done so, and gone ahead."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    kept = len(world.log.records)
    for number in (3, 4, 5, 6):
        world.cancel(number)
    await world.work(owner)
    world.kill(owner)
    del world.log.records[kept:]
    slow = await world.start_owner()
    await world.advance_to(slow, "empty")
    await world.work(await world.start_owner())
    await world.advance(slow)


async def demoted_and_promoted(world: World) -> None:
    """Redis goes back to before a route without a restart, as a server that is demoted and promoted again."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.advance_to(owner, "append")
    await world.remember()
    await world.work(owner)
    await world.roll_back(restart=False)
    await world.settle()
    expect_end(world, 1, "completed")


async def demoted_and_promoted_under_new_facts(world: World) -> None:
    """Redis goes back, without a restart, to before a result that was told; and facts of another job come at once."""
    world.submit(1, ["a", "b"], labels={"chunk": "1"})
    owner = await world.start_owner()
    await world.work(owner)
    await world.remember()
    await world.run(await world.deliver())
    await world.work(owner)
    await world.roll_back(restart=False)
    world.submit(2, ["a"])
    await world.work(owner)
    world.kill(owner)


async def restarted_with_all_it_held(world: World) -> None:
    """Redis restarts with every key, and its gate is closed."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.restart_redis(empty=False)


async def wiped_before_a_heartbeat(world: World) -> None:
    """Redis is wiped, and a run's heartbeat comes before any owner has loaded."""
    world.submit(1, ["a", "b"])
    await world.work(await world.start_owner())
    await world.advance_to(await world.deliver(), "item")
    await world.wipe()
    await world.pass_time(310)


async def conflict_before_a_wipe(world: World) -> None:
    """Other content comes for a job that has ended; the owner dies before it says so, and Redis is wiped."""
    world.submit(1, ["a"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.run_all()
    await world.work(owner)
    world.submit(1, ["b"])
    await world.advance_to(owner, "publish")
    world.kill(owner)
    await world.wipe()
