"""Run one scenario in a world of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from eldermesh.stack.redis import EmbeddedRedis
from tests.property.promises import check_all, check_redis
from tests.property.virtual_loop import VirtualLoop
from tests.property.world import World

Scenario = Callable[[World], Awaitable[None]]
"""Steps in a world. Afterwards everything settles and all promises are checked."""


def run_scenario(server: EmbeddedRedis, scenario: Scenario) -> None:
    """Run a scenario to its end, then settle, and check every promise.

    Raises:
        Breach: a promise was broken.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(_run(server, scenario))


async def _run(server: EmbeddedRedis, scenario: Scenario) -> None:
    world = World(server)
    await world.begin()
    try:
        await scenario(world)
        await world.settle()
        check_all(world)
        await check_redis(world)
    finally:
        await world.end()
