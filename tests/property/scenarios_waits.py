"""Directed runs around waits: runs that are interrupted or meet a quota, and decisions on holds."""

from __future__ import annotations

from tests.property.expectations import expect_each_item_once, expect_end, expect_first_attempts, expect_no_death
from tests.property.world import World


async def interrupted_again_and_again(world: World) -> None:
    """Workers stop in order while an item runs, three times; then one dies with it: that is the first death."""
    world.submit(1, ["a"], max_failed=1)
    owner = await world.start_owner()
    await world.work(owner)
    for _ in range(3):
        runner = await world.deliver()
        await world.advance_to(runner, "item")
        await world.interrupt(runner)
        await world.run(runner)
        await world.work(owner)
    expect_no_death(world)
    dying = await world.deliver()
    await world.advance_to(dying, "item")
    world.kill(dying)
    await world.settle()
    expect_end(world, 1, "completed")


async def interrupted_between_two_items(world: World) -> None:
    """A worker stops in order when one of three items has ended: its result is kept, the others run elsewhere, once."""
    world.submit(1, ["a", "b", "c"], labels={"chunk": "3"})
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver()
    await world.advance_to(runner, "item", past=1)
    await world.interrupt(runner)
    await world.run(runner)
    await world.work(owner)
    await world.settle()
    expect_each_item_once(world)
    expect_no_death(world)


async def interruption_lands_late(world: World) -> None:
    """A worker is killed before it hears that its interruption was written; that arrives when another run goes on."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    first = await world.deliver()
    await world.advance_to(first, "item")
    await world.interrupt(first)
    await world.advance_to(first, "append")
    world.kill(first)
    await world.pulse.rest()
    await world.pass_time(950)
    await world.work(owner)
    second = await world.deliver()
    await world.advance_to(second, "item")
    world.land()
    await world.work(owner)
    await world.pass_time(400)


async def quota_is_used_up(world: World) -> None:
    """An item meets a quota; its job waits while another one runs, and the item is run again as its first attempt."""
    world.submit(1, ["quota"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.run_all()
    await world.work(owner)
    world.submit(2, ["a"])
    await world.work(owner)
    await world.run_all()
    await world.work(owner)
    expect_end(world, 2, "completed")
    await world.settle()
    expect_first_attempts(world, 1)
    expect_no_death(world)


async def decided_twice_by_one_command(world: World) -> None:
    """The command that approves a hold is delivered again, when the job is not held any more."""
    world.submit(1, ["a"], labels={"hold": "1"})
    owner = await world.start_owner()
    await world.work(owner)
    inbox = world.decide(1, approve=True)
    await world.work(owner)
    world.decide(1, approve=True, inbox=inbox)


async def decided_by_its_submitter(world: World) -> None:
    """Who submitted a held job approves it; nobody else decides."""
    world.submit(1, ["a"], labels={"hold": "1"}, submitted_by="sue")
    owner = await world.start_owner()
    await world.work(owner)
    world.decide(1, approve=True, by="sue")
    await world.settle()
    expect_end(world, 1, "rejected")


async def killed_before_telling_of_a_hold(world: World) -> None:
    """The owner dies between folding a hold and telling of it, and Redis is wiped: the next one tells it, once."""
    world.submit(1, ["a"], labels={"hold": "1"})
    owner = await world.start_owner()
    await world.advance_to(owner, "append")
    await world.advance(owner)
    await world.advance_to(owner, "publish")
    world.kill(owner)
    await world.wipe()
    await world.work(await world.start_owner())
    world.decide(1, approve=False)
