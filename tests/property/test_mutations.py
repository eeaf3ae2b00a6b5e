"""Each mutation of the rules' list breaks a promise in its directed run, and the shipped code breaks none there."""

from __future__ import annotations

import re

import pytest

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from shared.history import scripts
from tests.property.breach import Breach
from tests.property.mutation import Mutation
from tests.property.mutations import MUTATIONS
from tests.property.patches import mutate_code, mutate_lua
from tests.property.proof import PAGE, page_with_list
from tests.property.running import Scenario, run_scenario

_SCENARIOS = {mutation.scenario: mutation.scenario.__name__ for mutation in MUTATIONS}


@pytest.mark.parametrize("scenario", list(_SCENARIOS), ids=list(_SCENARIOS.values()))
def test_shipped_code_keeps_every_promise(world_redis: EmbeddedRedis, scenario: Scenario) -> None:
    """The directed run as it is; afterwards everything settles and every promise is checked."""
    run_scenario(world_redis, scenario)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_mutated_code_breaks_one(
    world_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, mutation: Mutation
) -> None:
    """The same run with one text of the shipped code replaced ends in the breach that the registry names."""
    mutation.apply(monkeypatch)
    with pytest.raises(Breach, match=re.escape(mutation.breaks)):
        run_scenario(world_redis, mutation.scenario)


def test_the_docs_have_the_same_list() -> None:
    """`python -m tests.property.proof` writes it."""
    page = PAGE.read_text("utf-8")
    assert page == page_with_list(page)


def test_a_text_that_is_not_there_is_no_mutation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutation whose text the code no longer has fails, instead of passing for one that was caught."""
    with pytest.raises(LookupError, match=r"0 times in lua_script"):
        mutate_code(monkeypatch, scripts, "lua_script", "no such text", "")
    with pytest.raises(LookupError, match=r"times in claim\.lua"):
        mutate_lua(monkeypatch, "claim", "redis.call", "")
