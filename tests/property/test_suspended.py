"""A death that was counted while a machine was suspended is counted once."""

from __future__ import annotations

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from tests.property.running import run_scenario
from tests.property.scenarios_suspended import suspended_while_its_death_is_told


def test_a_run_taken_for_dead_elsewhere_adds_nothing(world_redis: EmbeddedRedis) -> None:
    """It happens twice: if what the owner and the run say counted both, the item would end as crashed."""
    run_scenario(world_redis, suspended_while_its_death_is_told)
