"""Each mutation of the rules' list breaks a promise in its directed run, and the shipped code breaks none there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eldermesh.stack.redis import EmbeddedRedis
from tests.property.breach import Breach
from tests.property.mutations import MUTATIONS, Mutation
from tests.property.running import Scenario, run_scenario

_SCENARIOS = {mutation.scenario: mutation.scenario.__name__ for mutation in MUTATIONS}
_PROOF = Path(__file__).parents[2] / "docs" / "history-proof.md"


@pytest.mark.parametrize("scenario", list(_SCENARIOS), ids=list(_SCENARIOS.values()))
def test_shipped_code_keeps_every_promise(world_redis: EmbeddedRedis, scenario: Scenario) -> None:
    """The directed run as it is; afterwards everything settles and every promise is checked."""
    run_scenario(world_redis, scenario)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_mutated_code_breaks_one(
    world_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, mutation: Mutation
) -> None:
    """The same run with one text of the shipped code replaced ends in the breach that the table names."""
    mutation.apply(monkeypatch)
    with pytest.raises(Breach, match=re.escape(mutation.breaks)):
        run_scenario(world_redis, mutation.scenario)
