"""Directed runs around deaths: of a chunk, of an item that is left alone, and of runs that the owner took for dead."""

from __future__ import annotations

from tests.property.expectations import expect_end, expect_no_death
from tests.property.owner_life import OwnerProcess
from tests.property.world import World


async def _dies(world: World, owner: OwnerProcess) -> None:
    """A worker takes the next task, and is killed at its first item."""
    runner = await world.deliver()
    await world.advance_to(runner, "item")
    world.kill(runner)
    await world.pass_time(950)
    await world.work(owner)


async def left_alone_by_an_interruption(world: World) -> None:
    """A bisected chunk's worker stops in order after one of two items; then the other one dies, for the first time."""
    world.submit(1, ["a", "b", "c", "d"], labels={"chunk": "4"})
    owner = await world.start_owner()
    await world.work(owner)
    for _ in range(2):
        await _dies(world, owner)
    runner = await world.deliver()
    await world.advance_to(runner, "item", past=1)
    await world.interrupt(runner)
    await world.run(runner)
    await world.work(owner)
    await world.run(await world.deliver())
    await _dies(world, owner)
    await world.settle()
    expect_end(world, 1, "completed")


async def interruption_before_the_word_of_a_crash(world: World) -> None:
    """An item has died twice; its third run stops in order and says so just before its owner ends it as crashed."""
    world.submit(1, ["a"])
    owner = await world.start_owner()
    await world.work(owner)
    for _ in range(2):
        await _dies(world, owner)
    runner = await world.deliver()
    await world.advance_to(runner, "item")
    await world.interrupt(runner)
    await world.advance_to(runner, "append")
    runner.freeze()
    await world.pass_time(950)
    await world.advance_to(owner, "append")
    await world.thaw(runner, 1)
    await world.settle()
    expect_end(world, 1, "completed")


async def interruption_behind_a_backlog(world: World) -> None:
    """A run stops in order and says so behind other facts; its lease is over before its owner has read that."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver()
    await world.advance_to(runner, "item")
    await world.interrupt(runner)
    for number in (2, 3, 4):
        world.cancel(number)
    await world.run(runner)
    world.records_at_once = 1
    await world.pass_time(950)
    await world.work(owner)
    expect_no_death(world)
    world.records_at_once = 500
