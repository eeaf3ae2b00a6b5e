"""Directed runs around the owner: load, batch, advance, act."""

from __future__ import annotations

from tests.property.expectations import expect_each_item_once, expect_end
from tests.property.owner_life import LEASE_SECONDS
from tests.property.world import World


async def plain_job(world: World) -> None:
    """One job, no faults."""
    world.submit(1, ["a", "b", "c"])
    await world.work(await world.start_owner())
    await world.run_all()
    await world.settle()
    expect_end(world, 1, "completed")
    expect_each_item_once(world)


async def killed_before_publishing_results(world: World) -> None:
    """The owner dies between folding results and publishing them: the next one publishes them while it catches up."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.run_all()
    await world.advance_to(owner, "publish")
    world.kill(owner)
    world.submit(2, ["a"])


async def killed_after_the_advance(world: World) -> None:
    """The owner dies as soon as Redis has advanced past results."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.run_all()
    await world.advance_to(owner, "advance")
    await world.advance(owner)
    world.kill(owner)


async def killed_after_two_calls_of_the_last_batch(world: World) -> None:
    """The owner dies after the first two effects of the batch that decides the end."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.run_all()
    await world.advance_to(owner, "publish")
    await world.advance(owner, 2)
    world.kill(owner)


async def killed_between_end_and_mark(world: World) -> None:
    """The owner dies between the two steps that follow a decided end."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.run_all()
    await world.advance_to(owner, "advance")
    await world.advance(owner, 2)
    world.kill(owner)


async def late_cost_after_an_unmarked_end(world: World) -> None:
    """An end is published, its owner dies before the mark, and a result with a cost comes late."""
    world.submit(1, ["fail", "costs"], labels={"chunk": "1"})
    owner = await world.start_owner()
    await world.work(owner)
    await world.run(await world.deliver(0))
    await world.advance_to(owner, "append")
    world.kill(owner)
    world.results(1, 1, micros=500)


async def stale_owner_advances(world: World) -> None:
    """An owner is stopped before an advance, another takes over and goes ahead; then the first one goes on."""
    world.submit(1, ["a", "b"], labels={"chunk": "1"})
    stale = await world.start_owner()
    await world.advance_to(stale, "append")
    await world.advance(stale)
    await world.advance_to(stale, "advance")  # with the route, folded and not yet in Redis
    owner = await world.start_owner()
    await world.work(owner)
    await world.run(await world.deliver(0))
    await world.work(owner)
    await world.advance(stale)
    world.kill(stale)
    world.submit(2, ["a"])
    await world.work(owner)
    world.kill(owner)


async def wiped_under_an_owner(world: World) -> None:
    """Redis is wiped while an owner is about to advance with news of another job."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    world.submit(2, ["a", "b"])
    await world.advance_to(owner, "advance")
    await world.wipe()
    await world.work(owner)
    world.kill(owner)


async def wiped_once(world: World) -> None:
    """Redis is wiped while an owner is about to advance; no other owner is there."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.advance_to(owner, "advance")
    await world.wipe()
    await world.work(owner)


async def two_flushes(world: World) -> None:
    """Two wipes, an owner loaded after each: only the second one's wait of a lease counts for the gate."""
    world.submit(1, ["a", "b"])
    first = await world.start_owner()
    await world.work(first)
    runner = await world.deliver(keep=True)
    await world.advance_to(runner, "item")
    await world.wipe()
    world.kill(first)
    stale = await world.start_owner()
    await world.work(stale)  # at the log's end, the gate closed for a lease
    await world.pass_time(LEASE_SECONDS)  # the last heartbeat is at its end
    await world.wipe()
    await world.work(await world.start_owner())
    await world.work(stale)  # a lease after its own load
    await world.run(await world.deliver())


async def two_owners_load(world: World) -> None:
    """While one owner loads, another one goes ahead."""
    world.submit(1, ["a", "b"])
    await world.work(await world.start_owner())
    slow = await world.start_owner()
    await world.advance(slow)
    quick = await world.start_owner()
    world.submit(2, ["a", "b"])
    await world.work(quick)
    await world.work(slow)


async def log_lost_its_tail(world: World) -> None:
    """The log ends before what Redis says was applied (an unclean election, or another incarnation)."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    kept = len(world.log.records)
    for number in (3, 4, 5, 6):
        world.cancel(number)
    await world.work(owner)
    world.kill(owner)
    del world.log.records[kept:]


async def repeated_long_after_its_end(world: World) -> None:
    """The same submit comes again when the job has long ended, its facts still in the log."""
    world.submit(1, ["a"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.run_all()
    await world.work(owner)
    for _ in range(3):
        await world.pass_time(700)
        await world.work(owner)
    world.repeat(1)


async def cancelled_long_before_its_submit(world: World) -> None:
    """A cancel waits for its submit for hours."""
    world.cancel(1)
    owner = await world.start_owner()
    await world.work(owner)
    for _ in range(3):
        await world.pass_time(700)
        await world.work(owner)
    world.submit(1, ["a"])
    await world.settle()
    expect_end(world, 1, "cancelled")


async def slow_catch_up_with_a_live_run(world: World) -> None:
    """After a wipe the catch-up takes longer than a lease; a run has renewed its claim on a chunk not folded yet."""
    world.submit(1, ["a"], labels={"refuse": "1"})
    world.submit(2, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver(keep=True)
    await world.advance_to(runner, "item")
    await world.pass_time(10)
    await world.wipe()
    world.records_at_once = 1
    await world.pass_time(60)
    await world.advance_to(owner, "load")
    await world.advance_to(owner, "advance")  # of the first job's first fact
    await world.pass_time(910)  # heartbeats at 300, 600 and 900 re-create the claim
    await world.work(owner)
    await world.run(await world.deliver())


async def engine_delivers_nothing(world: World) -> None:
    """A task waits in the engine's queue for many claim time-outs: nobody has died."""
    world.submit(1, ["a"])
    owner = await world.start_owner()
    for _ in range(40):
        await world.work(owner)
        await world.pass_time(3700)
    await world.settle()
    expect_end(world, 1, "completed")


async def bisected_while_results_arrive(world: World) -> None:
    """A chunk is bisected while results of its first half arrive, and the window holds one chunk."""
    world.window_size = 1
    world.submit(1, ["a", "b", "c", "d"], labels={"chunk": "4"})
    owner = await world.start_owner()
    for _ in range(2):
        await world.work(owner)
        runner = await world.deliver()
        await world.advance_to(runner, "item")
        world.kill(runner)
        await world.pass_time(950)
    await world.advance_to(owner, "append")  # of the plan
    world.results(1, 0, 1)
    await world.work(owner)


async def reads_fact_by_fact_after_a_load(world: World) -> None:
    """An owner that loads what another one has advanced reads one fact at a time."""
    world.submit(1, ["a", "b"], labels={"chunk": "1"})
    owner = await world.start_owner()
    await world.work(owner)
    await world.run(await world.deliver())
    await world.work(owner)
    world.kill(owner)
    world.records_at_once = 1
    owner = await world.start_owner()
    for _ in range(12):
        await world.advance(owner)
        await world.mirror.check()
