"""Directed runs around trouble: timers that are overdue at a load, engines and brokers that do not answer."""

from __future__ import annotations

from tests.property.breach import Breach
from tests.property.expectations import expect_each_item_once, expect_end
from tests.property.owner_life import CLAIM_TIMEOUT_SECONDS, HOLD_SECONDS, LOOK_SECONDS
from tests.property.world import World


async def overdue_at_load(world: World) -> None:
    """A hold runs out while nobody owns the partition and a fact waits; the next owner's read of it takes its time."""
    world.idle_seconds = 10.0
    world.submit(1, ["a"], labels={"hold": "1"})
    owner = await world.start_owner()
    await world.work(owner)
    world.kill(owner)
    world.submit(2, ["a"])
    await world.pass_time(HOLD_SECONDS + 1)
    next_owner = await world.start_owner()
    while not next_owner.owner.states:
        await world.advance(next_owner)
    world.records_at_once = 0
    await world.advance(next_owner, 2)
    if world.last_wait == 0:
        raise Breach("reads again and again without waiting")
    world.records_at_once = 500
    await world.settle()
    expect_end(world, 1, "rejected")


async def engine_is_down_for_one_chunk(world: World) -> None:
    """An engine lost a task and does not take it again; a job that needs no engine is cancelled, and ends."""
    world.submit(1, ["a"])
    owner = await world.start_owner()
    await world.work(owner)
    world.queue.clear()
    await world.pass_time(CLAIM_TIMEOUT_SECONDS + LOOK_SECONDS)
    world.engine_is_down = True
    world.submit(2, ["a"])
    world.cancel(2)
    for _ in range(5):
        await world.approach(owner, "back_off")
        await world.pass_time(LOOK_SECONDS)
    expect_end(world, 2, "cancelled")
    world.engine_is_down = False


async def publish_fails_once(world: World) -> None:
    """The broker does not take a batch's progress: the owner goes on from what it knows, and loads nothing again."""
    world.submit(1, ["a"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.run_all()
    world.log.faults.append("partial")
    await world.advance_to(owner, "back_off")
    await world.advance(owner)
    if owner.stopped_at == "load":
        raise Breach("loads again though Redis was not touched")


async def loads_with_a_full_window(world: World) -> None:
    """An owner dies while runners hold as many chunks as the window has room for: the next one sends no more."""
    world.window_size = 2
    world.submit(1, ["a", "b", "c", "d"], labels={"chunk": "1"})
    owner = await world.start_owner()
    await world.work(owner)
    runners = [await world.deliver(), await world.deliver()]
    for runner in runners:
        await world.advance_to(runner, "item")
    world.kill(owner)
    await world.work(await world.start_owner())
    if world.queue:
        raise Breach("more chunks are with the engine than the window holds")


async def repeat_outlives_the_end(world: World) -> None:
    """A submit comes again after the job's end; retention drops all that stands before it, and Redis is wiped."""
    world.submit(1, ["a"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.run_all()
    await world.work(owner)
    expect_end(world, 1, "completed")
    repeated = world.log.end
    world.repeat(1)
    await world.work(owner)
    world.kill(owner)
    world.log.trim(repeated)
    await world.wipe()
    await world.work(await world.start_owner())
    await world.run_all()
    expect_each_item_once(world)
