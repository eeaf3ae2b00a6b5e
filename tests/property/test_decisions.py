"""An owner with many decisions to make: the most urgent first, tenants by turns, and never all before anything else."""

from __future__ import annotations

import pytest

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from shared.history import actions
from tests.property.fact_writer import job_id
from tests.property.running import in_a_world, settle
from tests.property.world import World


def _decided(world: World) -> list[str]:
    return [record.key for record in world.log.records if record.fact_type == "job.routed"]


def test_decisions_come_by_rank(world_redis: EmbeddedRedis) -> None:
    """Of those that one batch of facts makes due."""

    async def steps(world: World) -> None:
        for number in range(1, 5):
            world.submit(number, ["a"], tenant="crowd")
        world.submit(5, ["a"], tenant="other")
        world.submit(6, ["a"], tenant="crowd", priority="interactive")
        await world.work(await world.start_owner())
        urgent, *by_turns = _decided(world)
        assert urgent == job_id(6)
        # Whose turn is first is not said.
        assert {*by_turns[:2]} == {job_id(1), job_id(5)}
        assert by_turns[2:] == [job_id(number) for number in (2, 3, 4)]
        await settle(world)

    in_a_world(world_redis, steps)


def test_a_more_urgent_job_that_comes_meanwhile_is_decided_before_those_that_wait(
    world_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step ends when its time is over, and what is left does not wait for facts: no time passes here."""
    monkeypatch.setattr(actions, "_DECIDE_SECONDS", 0.0)

    async def steps(world: World) -> None:
        for number in range(1, 5):
            world.submit(number, ["a"])
        owner = await world.start_owner()
        await world.advance_to(owner, "append")
        assert _decided(world) == []
        world.submit(5, ["a"], priority="interactive")
        began = world.clock.monotonic()
        await world.work(owner)
        # What has just come has to be fetched first, which takes a step.
        assert _decided(world) == [job_id(number) for number in (1, 2, 5, 3, 4)]
        assert world.clock.monotonic() == began
        await settle(world)

    in_a_world(world_redis, steps)
