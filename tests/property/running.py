"""Run steps in a world of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from tests.property.owner_life import OwnerProcess
from tests.property.promises import check_all, check_redis
from tests.property.virtual_loop import VirtualLoop
from tests.property.world import World

_RETENTION_LOOK_SECONDS = 700
"""By then an owner has looked at the log's start again."""

Scenario = Callable[[World], Awaitable[None]]
"""Steps in a world."""


def in_a_world(server: EmbeddedRedis, steps: Scenario) -> None:
    """Run steps from an empty Redis on; afterwards everything that lives is killed."""

    async def run() -> None:
        world = World(server)
        await world.begin()
        try:
            await steps(world)
        finally:
            await world.end()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


async def working_owner(world: World) -> OwnerProcess:
    """An owner that has loaded, and done all that there is to do."""
    owner = await world.start_owner()
    await world.work(owner)
    return owner


async def retention(world: World, owner: OwnerProcess, start: int) -> None:
    """Take what lies below `start` of the log; the owner comes to see it."""
    world.log.trim(start)
    await world.pass_time(_RETENTION_LOOK_SECONDS)
    await world.work(owner)


async def settle(world: World) -> None:
    """Everything ends, and every promise was kept.

    Raises:
        Breach: one was not.
    """
    await world.settle()
    check_all(world)
    await check_redis(world)


def run_scenario(server: EmbeddedRedis, scenario: Scenario) -> None:
    """Run a scenario to its end, then settle.

    Raises:
        Breach: a promise was broken.
    """

    async def steps(world: World) -> None:
        await scenario(world)
        await settle(world)

    in_a_world(server, steps)
