"""Directed runs around advice: the panel speaks in time, too late, or not at all."""

from __future__ import annotations

from tests.property.expectations import expect_end
from tests.property.world import World

_HOUR_MS = 3600 * 1000


async def advised_in_time(world: World) -> None:
    """The panel has an hour for a job, and says within it that the job is critical."""
    world.submit(1, ["a"], advise_within_ms=_HOUR_MS)
    owner = await world.start_owner()
    await world.work(owner)
    world.advise(1, "critical")
    await world.settle()
    expect_end(world, 1, "rejected")


async def advised_a_moment_too_late(world: World) -> None:
    """The panel's word that a job is critical is in the log right after the timer of its time, before the decision."""
    world.submit(1, ["a"], advise_within_ms=_HOUR_MS)
    owner = await world.start_owner()
    await world.work(owner)
    await world.pass_time(61 * 60)
    await world.advance_to(owner, "append")
    await world.advance(owner)
    world.advise(1, "critical")
    await world.settle()
    expect_end(world, 1, "completed")


async def harmless_and_advised(world: World) -> None:
    """A job with harmless advice runs to its end."""
    world.submit(1, ["a"], advise_within_ms=_HOUR_MS)
    world.advise(1, "low")
    world.advise(1, "critical")
    await world.settle()
    expect_end(world, 1, "completed")
