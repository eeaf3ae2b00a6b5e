"""Facts and states are written as earlier releases wrote them, and what those wrote is read.

`tests/data/encoded_facts.jsonl` and `earlier_states.jsonl` were made by the code of an earlier release, of the
stories in `first_release_histories.jsonl`: a fact of each type as it was encoded, and states as Redis had them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.router.jobs.chunk_series import one_chunk
from services.router.jobs.plan import current_chunks
from services.router.jobs.state import JobState
from shared.facts.claude import CLAUDE_FACTS, decode_claude_fact
from shared.facts.fact import Fact
from shared.facts.jobs import JOB_FACTS, ItemsCompleted, decode_job_fact
from shared.facts.notifications import NOTIFICATION_FACTS, decode_notification_fact
from shared.history.facts import FactRecord
from tests.unit.history.test_first_release import MACHINES, STORIES

_DATA = Path(__file__).parents[2] / "data"
_DECODERS: dict[str, Callable[[str, bytes], Fact]] = {
    "jobs": decode_job_fact,
    "claude": decode_claude_fact,
    "notifications": decode_notification_fact,
}


def _lines(name: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (_DATA / name).read_bytes().splitlines()]


FACTS = _lines("encoded_facts.jsonl")
STATES = _lines("earlier_states.jsonl")


@pytest.mark.parametrize("fact", FACTS, ids=[f"{fact['history']} {fact['fact_type']}" for fact in FACTS])
def test_a_fact_is_encoded_as_before(fact: dict[str, Any]) -> None:
    """Names and order of the fields, and what is written of those that were not given."""
    decoded = _DECODERS[fact["history"]](fact["fact_type"], fact["encoded"].encode())
    assert decoded.encode().decode() == fact["encoded"]


def test_results_are_read_as_earlier_releases_wrote_them() -> None:
    """Those wrote each field, also one with its default."""
    (encoded,) = [fact["encoded"].encode() for fact in FACTS if fact["fact_type"] == ItemsCompleted.fact_type]
    fact = decode_job_fact(ItemsCompleted.fact_type, encoded)
    full = orjson.dumps(fact.model_dump(mode="json"))
    assert len(full) > len(encoded)
    assert decode_job_fact(ItemsCompleted.fact_type, full) == fact


def test_every_fact_is_among_them() -> None:
    """A fact that is added gets a line, too."""
    registries: dict[str, Mapping[str, type[Fact]]] = {
        "jobs": JOB_FACTS,
        "claude": CLAUDE_FACTS,
        "notifications": NOTIFICATION_FACTS,
    }
    declared = {(history, fact_type) for history, facts in registries.items() for fact_type in facts}
    assert {(fact["history"], fact["fact_type"]) for fact in FACTS} == declared


@pytest.mark.parametrize("earlier", STATES, ids=[f"{state['story']} {state['facts']}" for state in STATES])
def test_a_state_that_an_earlier_release_wrote_is_read(earlier: dict[str, Any]) -> None:
    """It is the state that the facts make today."""
    state: Any = None
    facts = STORIES[earlier["story"]][: earlier["facts"]]
    machine = MACHINES[facts[0]["history"]]
    for offset, fact in enumerate(facts):
        record = FactRecord(offset, fact["time_ms"], fact["key"], fact["fact_type"], fact["value"].encode())
        state = machine.fold(state, record).state
    read = machine.decode(earlier["state"].encode(), machine.bitmap(state))
    assert _by_chunk(read) == _by_chunk(state)


def _by_chunk(state: Any) -> Any:
    """With each current chunk of a job by itself, as earlier releases wrote them."""
    if not isinstance(state, JobState):
        return state
    return replace(state, plan=tuple(map(one_chunk, current_chunks(state.plan, state.bitmap))))
