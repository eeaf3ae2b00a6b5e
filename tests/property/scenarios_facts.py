"""Directed runs around the fold: facts that come late, twice, early or with strange times."""

from __future__ import annotations

from shared.facts.jobs import JobRefused
from tests.property.expectations import expect_end
from tests.property.fact_writer import job_id
from tests.property.world import World

_HOUR_MS = 3600 * 1000


async def broker_clock_goes_back(world: World) -> None:
    """Record times go back by an hour between a submit and its results, and an owner dies after publishing them."""
    world.submit(1, ["a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    world.log.skew_ms = -_HOUR_MS
    await world.run_all()
    await world.advance_to(owner, "publish")
    await world.advance(owner)
    world.kill(owner)
    await world.work(await world.start_owner())


async def neighbour_with_a_fast_clock_is_forgotten(world: World) -> None:
    """Facts of another job bear times an hour ahead; retention drops them, and Redis is wiped."""
    world.log.skew_ms = _HOUR_MS
    world.submit(2, ["a"])
    world.cancel(2)
    owner = await world.start_owner()
    await world.work(owner)
    world.log.skew_ms = 0
    first = world.log.end
    world.submit(1, ["a", "b"], labels={"chunk": "1"})
    await world.work(owner)
    await world.run(await world.deliver())
    await world.work(owner)
    world.log.trim(first)
    await world.wipe()


async def late_hold_after_an_approval(world: World) -> None:
    """A stale owner's hold comes after another owner's hold was approved."""
    world.submit(1, ["a"], labels={"hold": "1"})
    stale = await world.start_owner()
    await world.advance_to(stale, "append")
    owner = await world.start_owner()
    await world.work(owner)
    world.decide(1, approve=True)
    await world.advance(stale)
    world.kill(stale)
    await world.settle()
    expect_end(world, 1, "completed")


async def late_refusal_after_the_route(world: World) -> None:
    """A refusal comes when the job is routed and has results, with the right number of decisions."""
    world.submit(1, ["a", "b"], labels={"chunk": "1"})
    owner = await world.start_owner()
    await world.work(owner)
    await world.run(await world.deliver())
    world.fact(job_id(1), JobRefused(n=1, reason="too late"))


async def superseded_deadline(world: World) -> None:
    """A stale owner's `timer.fired` comes when a pause has moved the deadline it was about."""
    world.submit(1, ["a"], active_timeout_ms=_HOUR_MS)
    stale = await world.start_owner()
    await world.work(stale)
    await world.pass_time(61 * 60)
    await world.advance_to(stale, "append")
    world.log.skew_ms = -11 * 60 * 1000
    world.pause(1, 2 * 3600)  # by the log, ten minutes before the deadline
    world.log.skew_ms = 0
    owner = await world.start_owner()
    await world.work(owner)
    await world.pass_time(2 * 3600)
    await world.work(owner)  # the pause is over, ten minutes are left
    await world.advance(stale)
    world.kill(stale)


async def timer_fires_early_by_the_log(world: World) -> None:
    """The broker's clock is ten minutes behind the owner's when a deadline comes."""
    world.submit(1, ["a"], active_timeout_ms=_HOUR_MS)
    owner = await world.start_owner()
    await world.work(owner)
    world.log.skew_ms = -600_000
    await world.pass_time(61 * 60)
    await world.work(owner)


async def fact_with_old_and_new_results(world: World) -> None:
    """A run publishes an item whose result another run has brought in meanwhile, together with a new one."""
    world.submit(1, ["a", "b", "c"], labels={"chunk": "3"})
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver()
    await world.advance_to(runner, "item")
    world.results(1, 0)
    await world.run(runner)


async def fact_written_twice(world: World) -> None:
    """A runner's produce call fails though its fact was written, and is repeated."""
    world.submit(1, ["costs", "costs", "a", "b"])
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver()
    await world.advance_to(runner, "append")
    world.log.faults.append("ambiguous")
    await world.advance(runner)
    await world.pass_time(1)
    await world.run(runner)


async def other_content_after_the_end(world: World) -> None:
    """Other content comes under the id of a job that has ended."""
    world.submit(1, ["a"])
    owner = await world.start_owner()
    await world.work(owner)
    await world.run_all()
    await world.work(owner)
    world.submit(1, ["b"])


async def late_cost_an_hour_after_an_unmarked_end(world: World) -> None:
    """An end is published, its owner dies before the mark, and a result with a cost comes an hour later."""
    world.submit(1, ["fail", "costs"], labels={"chunk": "1"})
    owner = await world.start_owner()
    await world.work(owner)
    await world.run(await world.deliver(0))
    await world.advance_to(owner, "append")
    world.kill(owner)
    await world.pass_time(3600)
    world.results(1, 1, micros=500)


async def failure_beside_a_result(world: World) -> None:
    """A run fails an item whose result another run has brought in meanwhile, and publishes it with a new one."""
    world.submit(1, ["fail", "a", "b"], labels={"chunk": "3"}, max_failed=2)
    owner = await world.start_owner()
    await world.work(owner)
    runner = await world.deliver()
    await world.advance_to(runner, "item")
    world.results(1, 0)
    await world.run(runner)
