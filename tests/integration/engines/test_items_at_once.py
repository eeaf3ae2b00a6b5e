"""Coroutine functions whose calls run at once, in a real item host: each item has its own end, whatever others do."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import aclosing

import pytest
from pydantic import JsonValue

from services.router.engines.python.workload import PythonRun, PythonWorkload
from shared.settings import Settings
from shared.workloads import ItemCall, ItemFailed, ItemOutcome, ItemSucceeded, RunContext

FUNCTIONS = "tests.integration.coroutine_functions"


def asked(function: str, at_once: int, *, timeout_seconds: float | None = 60.0) -> RunContext:
    """A chunk of a job that calls it."""
    return RunContext(
        job_id="job-1",
        tenant="default",
        labels={},
        stage=0,
        epoch=1,
        chunk_id="job-1/0/1/0-9",
        options={"function": f"{FUNCTIONS}:{function}" if ":" not in function else function, "at_once": at_once},
        item_timeout_seconds=timeout_seconds,
        stream=False,
        settings=Settings(python_functions=("*",), _env_file=None),
    )


async def outcomes_of(run: PythonRun, items: Sequence[JsonValue], *, until: float = math.inf) -> list[ItemOutcome]:
    """The outcomes of all items, in the items' order."""
    calls = [ItemCall(index, item, 1, f"job-1/0/{index}", 1) for index, item in enumerate(items)]
    ended: dict[int, ItemOutcome] = {}
    async with aclosing(run.slice(calls, lambda: until)) as given:
        async for some in given:
            assert not ended.keys() & {call.index for call, _ in some}
            ended |= {call.index: outcome for call, outcome in some}
    return [ended[index] for index in sorted(ended)]


async def words(behaviours: Sequence[str], *, timeout_seconds: float | None = 60.0) -> list[tuple[str, int | None]]:
    """What becomes of items that behave like this, all at once: `succeeded` or the type of failure, and the attempt."""
    workload = PythonWorkload()
    async with workload.open(asked("behave", len(behaviours), timeout_seconds=timeout_seconds)) as run:
        outcomes = await outcomes_of(run, behaviours)
    await workload.close()
    return [
        (outcome.error_type if isinstance(outcome, ItemFailed) else "succeeded", outcome.attempt)
        for outcome in outcomes
    ]


async def test_items_run_at_once() -> None:
    """Eight wait for one another: one by one they would never end."""
    workload = PythonWorkload()
    async with workload.open(asked("meet", 8)) as run:
        outcomes = await outcomes_of(run, [[number, 8] for number in range(8)])
    await workload.close()
    assert [outcome.output_json for outcome in outcomes if isinstance(outcome, ItemSucceeded)] == [b"8"] * 8


async def test_no_more_run_at_once_than_were_asked_for() -> None:
    """Of forty, three at a time; all end."""
    workload = PythonWorkload()
    async with workload.open(asked("most_at_once", 3)) as run:
        outcomes = await outcomes_of(run, [0.01] * 40)
    await workload.close()
    assert len(outcomes) == 40
    assert {outcome.output_json for outcome in outcomes if isinstance(outcome, ItemSucceeded)} <= {b"1", b"2", b"3"}


async def test_other_functions_are_called_one_by_one() -> None:
    """Whatever was asked for."""
    workload = PythonWorkload()
    async with workload.open(asked("math:sqrt", 8)) as run:
        outcomes = await outcomes_of(run, [4, 9, 16])
    await workload.close()
    assert [outcome.output_json for outcome in outcomes if isinstance(outcome, ItemSucceeded)] == [
        b"2.0",
        b"3.0",
        b"4.0",
    ]


async def test_nothing_begins_when_no_time_is_left() -> None:
    """The items are left."""
    workload = PythonWorkload()
    async with workload.open(asked("meet", 2)) as run:
        assert await outcomes_of(run, [[0, 2], [1, 2]], until=time.monotonic() - 0.001) == []
    await workload.close()


@pytest.mark.parametrize("how", ["raise", "exit", "interrupt", "cancel"])
async def test_an_item_that_fails_fails_alone(how: str) -> None:
    """What it raises, and even what it does to its own task."""
    assert await words(["fine", how, "fine"]) == [("succeeded", None), ("exception", None), ("succeeded", None)]


@pytest.mark.parametrize("how", ["stop", "cancel all"])
async def test_an_item_that_ends_the_loop_takes_along_what_runs(how: str) -> None:
    """All of them fail, none is left without an end, and the next slice runs."""
    workload = PythonWorkload()
    async with workload.open(asked("behave", 3)) as run:
        broken = await outcomes_of(run, ["stay", how, "stay"])
        after = await outcomes_of(run, ["fine"])
    await workload.close()
    assert [isinstance(outcome, ItemFailed) for outcome in broken] == [True] * 3
    assert [isinstance(outcome, ItemSucceeded) for outcome in after] == [True]


async def test_an_item_that_kills_the_host_is_found() -> None:
    """They run again one by one: it dies three times in all by itself, and the others succeed."""
    assert await words(["fine", "leave", "fine", "fine"]) == [
        ("succeeded", None),
        ("crashed", 3),
        ("succeeded", None),
        ("succeeded", None),
    ]


async def test_a_late_item_is_cancelled_alone() -> None:
    """At its limit; the host and the others go on."""
    ends = await words(["stay", "fine", "stay"], timeout_seconds=0.5)
    assert ends == [("timeout", None), ("succeeded", None), ("timeout", None)]


async def test_an_item_that_will_not_be_cancelled_is_killed() -> None:
    """It alone is late."""
    ends = await words(["stay whatever comes", "fine", "fine"], timeout_seconds=0.5)
    assert [end for end, _ in ends] == ["timeout", "succeeded", "succeeded"]


async def test_an_item_that_blocks_all_others_is_found() -> None:
    """They are all late, and run again one by one: only it is late then."""
    ends = await words(["stay briefly", "block", "fine"], timeout_seconds=0.5)
    assert [end for end, _ in ends] == ["succeeded", "timeout", "succeeded"]


async def test_what_is_no_result_fails() -> None:
    """As of other functions."""
    workload = PythonWorkload()
    async with workload.open(asked("not_json", 2)) as run:
        outcomes = await outcomes_of(run, [1, 2])
    await workload.close()
    assert [outcome.error_type for outcome in outcomes if isinstance(outcome, ItemFailed)] == ["result_not_json"] * 2
