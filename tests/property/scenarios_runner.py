"""Directed runs around claims: gate, leases, heartbeats, deaths."""

from __future__ import annotations

from tests.property.expectations import expect_each_item_once, expect_end, expect_no_death, expect_stopped
from tests.property.owner_life import HEARTBEAT_SECONDS, LOOK_SECONDS
from tests.property.world import World
from tests.property.world_workload import SLICED


async def task_delivered_twice(world: World) -> None:
    """A task is delivered again when its run has finished and its facts are not folded yet."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.run(await world.deliver(keep=True))
    await world.run(await world.deliver())
    await world.settle()
    expect_each_item_once(world)


async def answer_to_a_claim_is_lost(world: World) -> None:
    """Redis gives a claim and its answer is lost, so the run asks again."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    world.redis.claim_faults.append("reply_lost")
    runner = await world.deliver()
    await world.run(runner)
    await world.pass_time(1)
    await world.run(runner)
    await world.settle()
    expect_each_item_once(world)
    expect_no_death(world)


async def item_kills_its_runners(world: World) -> None:
    """One item kills each process that runs it; its neighbours get through, and it ends as crashed."""
    world.submit(1, ["a", "poison", "b"], labels={"chunk": "3"}, max_failed=1)
    await world.start_owner()
    await world.settle()
    expect_end(world, 1, "completed")


async def older_file_under_a_live_run(world: World) -> None:
    """Redis restarts from a file that is older than a live run's claim; its task is delivered again."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.remember()
    runner = await world.deliver(keep=True)
    await world.advance_to(runner, "item")
    await world.roll_back(restart=True)
    await world.run(await world.deliver())


async def wiped_under_a_live_run(world: World) -> None:
    """Redis is wiped while a chunk runs, and the task is delivered again before the next heartbeat."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver(keep=True)
    await world.advance_to(runner, "item")
    await world.wipe()
    await world.pass_time(60)
    await world.work(owner)
    second = await world.deliver()
    await world.run(second)
    await world.pass_time(2 * HEARTBEAT_SECONDS)
    await world.run(runner)
    await world.run(second)
    await world.settle()
    expect_each_item_once(world)


async def cancelled_while_running(world: World) -> None:
    """A cancel stops the run within two heartbeats."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver()
    await world.advance_to(runner, "item")
    world.cancel(1)
    await world.work(owner)
    await world.pass_time(2 * HEARTBEAT_SECONDS)
    expect_stopped(runner)


async def frozen_past_its_lease(world: World) -> None:
    """A runner is stopped for longer than its lease, its chunk is planned again, and it wakes up in the middle."""
    world.submit(1, ["a", "b", "c"], labels={"chunk": "3"})
    owner = await world.start_owner()
    await world.work(owner)
    frozen = await world.deliver()
    await world.advance_to(frozen, "item")
    frozen.freeze()
    await world.pass_time(1000)
    await world.work(owner)
    await world.advance_to(await world.deliver(), "item")
    await world.thaw(frozen, 2)  # its work is quicker than its heartbeat


async def frozen_past_its_lease_in_a_slice(world: World) -> None:
    """A runner is stopped for longer than its lease in the middle of a slice, and its chunk is planned again."""
    world.submit(1, ["a", "b", "c", "d"], labels={"chunk": "4", SLICED: "1"})
    owner = await world.start_owner()
    await world.work(owner)
    frozen = await world.deliver()
    await world.advance_to(frozen, "item", past=1)  # the first slice has one item, the second all others
    frozen.freeze()
    await world.pass_time(1000)
    await world.work(owner)
    await world.advance_to(await world.deliver(), "item")
    await world.thaw(frozen, 2)  # its work is quicker than its heartbeat


async def results_of_an_older_epoch(world: World) -> None:
    """One chunk dies and is planned again under a higher epoch while its sibling runs on under its own."""
    world.submit(1, ["a", "b", "c", "d"])
    owner = await world.start_owner()
    await world.work(owner)
    dying, sibling = await world.deliver(), await world.deliver()
    await world.advance_to(dying, "item")
    await world.advance_to(sibling, "item")
    world.kill(dying)
    await world.pass_time(950)
    await world.work(owner)
    await world.run(sibling)


async def dead_before_its_heartbeat_is_sent(world: World) -> None:
    """A run is stopped between the asking for a renewal and the sending; its claim dies, and then Redis is asked."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver()
    await world.advance_to(runner, "item")
    world.slow_requests = 1
    await world.pass_time(HEARTBEAT_SECONDS + 10)
    runner.freeze()
    await world.pass_time(700)
    await world.advance_to(owner, "append")  # of the plan
    await world.thaw(runner, 1, port="renew")
    await world.work(owner)
    await world.run(await world.deliver())


async def claimed_with_items_in(world: World) -> None:
    """A chunk is claimed when one of its items has its result."""
    world.submit(1, ["a", "b", "c"], labels={"chunk": "3"})
    owner = await world.start_owner()
    await world.work(owner)
    world.results(1, 1)
    await world.work(owner)
    await world.run_all()


async def killed_after_its_finish(world: World) -> None:
    """A worker is killed as soon as its claim is done."""
    world.submit(1, ["a"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver()
    await world.advance_to(runner, "finish")
    await world.advance(runner)
    world.kill(runner)


async def frozen_between_claim_and_item(world: World) -> None:
    """A run is stopped for longer than its lease before it turns to its first item."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    frozen = await world.deliver()
    await world.freeze_after(frozen)
    await world.pass_time(1000)
    await world.work(owner)
    await world.advance_to(await world.deliver(), "item")
    await world.thaw(frozen, 2)


async def answer_comes_late(world: World) -> None:
    """Redis renews a lease at once, and its answer takes half of it; then Redis is away until the lease is over."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver()
    await world.advance_to(runner, "item")
    world.slow_answers = 1
    await world.pass_time(HEARTBEAT_SECONDS + 10)
    await world.pass_time(500)
    runner.let_through("answer")
    await world.pulse.rest()
    world.redis.renewal_faults.extend(["down"] * 100)
    await world.pass_time(450)
    expect_stopped(runner)


async def looked_at_when_done(world: World) -> None:
    """A claim is done, and its owner looks at it before it reads the results."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.run_all()
    world.records_at_once = 0
    await world.pass_time(LOOK_SECONDS)
    await world.advance(owner, 10)
    world.records_at_once = 500


async def answer_to_a_claim_comes_late(world: World) -> None:
    """Redis gives a claim at once, and its answer takes half a lease; then Redis is away until the lease is over."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    world.slow_answers = 1
    runner = await world.deliver()
    await world.advance(runner)
    await world.pass_time(500)
    world.redis.renewal_faults.extend(["down"] * 100)
    await world.advance(runner)
    await world.pass_time(450)
    expect_stopped(runner)


async def task_delivered_twice_to_one_worker(world: World) -> None:
    """A worker that runs a chunk is given the same task once more."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.advance_to(await world.deliver(keep=True, worker="one"), "item")
    await world.run(await world.deliver(worker="one"))
    await world.settle()
    expect_each_item_once(world)


async def done_after_the_fold(world: World) -> None:
    """The owner has folded a run's results, and removed its claim, when the run marks that claim done."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver()
    await world.advance_to(runner, "finish")
    await world.work(owner)
    await world.run(runner)


async def redelivered_after_a_new_plan(world: World) -> None:
    """A run dies, its chunk is planned again; the engine delivers the dead run's task once more."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver(keep=True)
    await world.advance_to(runner, "item")
    world.kill(runner)
    await world.pass_time(950)
    await world.work(owner)
    old, new = 0, 1
    await world.advance_to(await world.deliver(new, keep=True), "item")
    await world.run(await world.deliver(old))


async def replaced_before_its_heartbeat_is_sent(world: World) -> None:
    """A run is stopped before its renewal is sent; its chunk is planned again and runs elsewhere; then it is sent."""
    world.submit(1, ["a", "b", "c"], labels={"chunk": "3"})
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver()
    await world.advance_to(runner, "item")
    world.slow_requests = 1
    await world.pass_time(HEARTBEAT_SECONDS + 10)
    runner.freeze()
    await world.pass_time(700)
    await world.work(owner)
    await world.advance_to(await world.deliver(), "item")
    await world.thaw(runner, 1, port="renew")
    await world.advance(runner, 2)
