"""Directed runs around what owners hold in memory: jobs that have ended, and are named again or forgotten."""

from __future__ import annotations

from tests.property.expectations import expect_end
from tests.property.world import World

_DAY_SECONDS = 24 * 3600


async def retention_takes_facts_of_a_live_job(world: World) -> None:
    """A job waits for longer than its facts are kept, others come and go; then task and owner are lost."""
    world.submit(1, ["a"])
    owner = await world.start_owner()
    await world.work(owner)
    for number in (2, 3):
        world.cancel(number)
    await world.work(owner)
    world.log.trim(world.log.end - 1)
    await world.pass_time(700)
    await world.work(owner)
    world.queue.clear()
    world.kill(owner)


async def retention_takes_the_stub_of_a_live_job(world: World) -> None:
    """A cancel comes more than a day before its submit, so the job lives; then retention takes the cancel."""
    world.cancel(1)
    owner = await world.start_owner()
    await world.work(owner)
    await world.pass_time(_DAY_SECONDS + 700)
    await world.work(owner)
    first = world.log.end
    world.submit(1, ["a"])
    await world.work(owner)
    world.log.trim(first)
    await world.pass_time(700)
    await world.work(owner)
    world.kill(owner)
    await world.settle()
    expect_end(world, 1, "completed")


async def cancelled_twice(world: World) -> None:
    """A settled job has another fact."""
    owner = await world.start_owner()
    for _ in range(2):
        world.cancel(1)
        await world.work(owner)


async def earlier_release_in_between(world: World) -> None:
    """An owner of an earlier release was there: one job has ended, one lives, and its task is lost."""
    await _left_by_an_earlier_release(world)
    world.repeat(2)


async def killed_amid_an_upgrade(world: World) -> None:
    """As above; and the first owner of this release dies when it has packed what has settled."""
    await _left_by_an_earlier_release(world)
    owner = await world.start_owner()
    await world.advance_to(owner, "advance", past=1)
    world.kill(owner)


async def _left_by_an_earlier_release(world: World) -> None:
    world.submit(2, ["a"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.run_all()
    await world.work(owner)
    world.submit(1, ["a"])
    await world.work(owner)
    world.queue.clear()
    world.kill(owner)
    await world.redis.as_an_earlier_release_wrote_it()
