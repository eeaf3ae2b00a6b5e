"""Packed states of settled jobs: small, whole, and readable for as long as Redis has them."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from hashlib import sha256
from importlib.resources import files
from typing import Any

import pytest

from services.router.jobs.machine import JobMachine
from shared.history.facts import FactRecord
from shared.history.settled_state import DamagedStateError, decoded, packed, unpacked
from tests.unit.history.test_first_release import MACHINES, STORIES


def folded_states(name: str) -> list[tuple[str, Any]]:
    """The history of a story, and the state after each of its facts."""
    state: Any = None
    states: list[tuple[str, Any]] = []
    for offset, fact in enumerate(STORIES[name]):
        record = FactRecord(offset, fact["time_ms"], fact["key"], fact["fact_type"], fact["value"].encode())
        state = MACHINES[fact["history"]].fold(state, record).state
        states.append((fact["history"], state))
    return states


@pytest.mark.parametrize("name", list(STORIES))
def test_a_state_comes_back_whole(name: str) -> None:
    """Of every history, after each of its facts."""
    for history, state in folded_states(name):
        machine = MACHINES[history]
        raw = machine.encode(state)
        value = packed(raw, state.last_offset)
        assert re.match(rb"z1 (\d+) ", value).group(1) == b"%d" % state.last_offset  # type: ignore[union-attr]
        assert unpacked(value) == raw
        assert decoded(machine, value, machine.bitmap(state)) == state


def test_a_state_that_was_not_packed_is_taken_as_it_is() -> None:
    """Live ones are not, nor those of earlier releases."""
    assert unpacked(b'{"job_id":"1"}') == b'{"job_id":"1"}'


def test_a_settled_job_of_one_item_is_small() -> None:
    """A fifth of what it was."""
    sizes = [
        len(packed(JobMachine().encode(state), state.last_offset))
        for name in STORIES
        for history, state in folded_states(name)
        if history == "jobs" and state.marked and state.items_total == 1
    ]
    assert sizes
    assert max(sizes) <= 320


def test_the_dictionary_stays_as_it_is() -> None:
    """With another one what Redis has would be read as something else, and nothing would notice."""
    digest = sha256(files("shared.history").joinpath("settled_state.txt").read_bytes()).hexdigest()
    assert digest == "1dd01335fb0e3c98f007f54a5cde101b7932994615bf9e63c216fae1898e8ef4"


def test_what_was_packed_once_is_read_for_ever() -> None:
    """The last state of the story `completed`, as it was packed when packing began."""
    value = base64.b64decode(
        "ejEgNyC91s0OgjAMB/B34awJ/7bbqIlv4Qswhkd9/5skgiCbfAi6w3pak3XdL2011q7IGmk8hthtM/h+q18kaP+4EaMYMVpenTVQ"
        "2CoIh1CIFLUnoCpyhlZJRmfOHL0rg/UOVilnZsSMZuXZZ985qt0y+zraF80scFSPhAvkBG6acNrRJl803jYDrkljOk5sNmKKxZhy"
        "hKlMYfq+tYvWYEq7YzrTmCsxff66D5amrz9pqfzWUu4txdBSWmap+T+lJMnp9pChjTyIlJx6Hw=="
    )
    _, state = folded_states("completed")[-1]
    assert decoded(JobMachine(), value, b"") == state


@pytest.mark.parametrize("damage", [lambda value: value[:-20], lambda value: value[:12] + b"?" * 40, lambda _: b"z1 7"])
def test_a_damaged_state_is_told(damage: Callable[[bytes], bytes]) -> None:
    """Also one that has lost its end, which a library that unpacks piece by piece does not mind."""
    _, state = folded_states("completed")[-1]
    value = packed(JobMachine().encode(state), state.last_offset)
    with pytest.raises(DamagedStateError):
        decoded(JobMachine(), damage(value), b"")
