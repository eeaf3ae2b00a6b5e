"""Directed runs of machines that are suspended: leases go on meanwhile, and nobody has died when they wake up."""

from __future__ import annotations

from tests.property.expectations import expect_each_item_once, expect_end, expect_no_death, expect_unclaimed
from tests.property.owner_life import LOOK_SECONDS
from tests.property.process import Process
from tests.property.world import World


async def _suspended_together(world: World, seconds: float, *processes: Process) -> None:
    for process in processes:
        process.suspend()
    await world.pass_time(seconds)
    for process in processes:
        process.thaw()


async def suspended_with_its_owner(world: World) -> None:
    """The one machine is suspended for an hour while an item runs; when it wakes up, the owner looks first."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver()
    await world.advance_to(runner, "item", past=1)
    await _suspended_together(world, 3600, owner, runner)
    await world.work(owner)
    runner.release_timers()
    await world.pulse.rest()
    await world.run(runner)
    await world.work(owner)
    for _ in range(3):
        await world.pass_time(500)
        await world.work(owner)
    expect_no_death(world)
    await world.settle()
    expect_each_item_once(world)
    expect_end(world, 1, "completed")


async def suspended_across_a_wipe(world: World) -> None:
    """A worker's machine is suspended, Redis is wiped, and another run has the chunk when the machine wakes up."""
    world.submit(1, ["a"])
    owner = await world.start_owner()
    await world.work(owner)
    first = await world.deliver(keep=True)
    await world.advance_to(first, "item")
    first.suspend()
    await world.wipe()
    await world.pass_time(LOOK_SECONDS)
    await world.work(owner)
    await world.pass_time(950)
    await world.work(owner)
    second = await world.deliver()
    await world.advance_to(second, "item")
    await world.thaw(first)
    await world.run(first)
    await world.work(owner)
    await world.pass_time(400)
    await world.run(second)


async def suspended_while_its_death_is_told(world: World) -> None:
    """A worker's machine is suspended; an owner elsewhere takes its run for dead, and has said so when it wakes up."""
    world.submit(1, ["a"], max_failed=1)
    owner = await world.start_owner()
    await world.work(owner)
    for _ in range(2):
        runner = await world.deliver()
        await world.advance_to(runner, "item")
        runner.suspend()
        await world.pass_time(950)
        await world.advance_to(owner, "append")
        await world.thaw(runner)
        await world.run(runner)
        await world.work(owner)
    await world.settle()
    expect_end(world, 1, "completed")


async def suspended_while_the_gate_is_closed(world: World) -> None:
    """Redis is wiped under a run; before the gate opens, the one machine is suspended, and the owner wakes up first."""
    world.submit(1, ["a"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver(keep=True)
    await world.advance_to(runner, "item")
    await world.wipe()
    await world.pass_time(LOOK_SECONDS)
    await world.work(owner)
    await _suspended_together(world, 950, owner, runner)
    await world.work(owner)
    again = await world.deliver()
    await world.advance(again, 3)
    expect_unclaimed(again)
    runner.release_timers()
    await world.pulse.rest()
    await world.run(runner)
    await world.work(owner)
    expect_no_death(world)
