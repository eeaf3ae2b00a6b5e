"""Coroutine functions whose calls run at once, in a real item host: each item has its own end, whatever others do."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest
from pydantic import JsonValue

from services.router.engines.python.workload import PythonRun, PythonWorkload
from shared.history.clock import SystemClock
from shared.settings import Settings
from shared.workloads import ItemCall, ItemFailed, ItemOutcome, ItemSucceeded, RunContext
from tests.waiting import wait_until

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


def calls_of(items: Sequence[JsonValue]) -> list[ItemCall]:
    """The calls of a chunk."""
    return [ItemCall(index, item, 1, f"job-1/0/{index}", 1) for index, item in enumerate(items)]


async def slice_of(
    run: PythonRun, calls: Sequence[ItemCall], begin_until: Callable[[], float] = lambda: math.inf
) -> dict[int, ItemOutcome]:
    """The outcomes of one slice."""
    ended: dict[int, ItemOutcome] = {}
    async with aclosing(run.slice(calls, begin_until)) as given:
        async for some in given:
            assert not ended.keys() & {call.index for call, _ in some}
            ended |= {call.index: outcome for call, outcome in some}
    return ended


async def _past(until: float) -> None:
    await wait_until(lambda: time.monotonic() > until, description="the worker goes on")


async def outcomes_of(run: PythonRun, items: Sequence[JsonValue]) -> list[ItemOutcome]:
    """The outcomes of all items, in the items' order."""
    return [outcome for _, outcome in sorted((await slice_of(run, calls_of(items))).items())]


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
    at_once = [outcome.output_json for outcome in outcomes if isinstance(outcome, ItemSucceeded)]
    assert len(at_once) == 40
    assert set(at_once) == {b"1", b"2", b"3"}


async def test_other_functions_are_called_one_by_one() -> None:
    """Whatever was asked for; the first slice is one item, since nothing is known of what it takes."""
    workload = PythonWorkload()
    async with workload.open(asked("math:sqrt", 8)) as run:
        assert run.at_once == 8
        calls = calls_of([4, 9, 16])
        assert list(await slice_of(run, calls)) == [0]
        assert run.at_once == 1
        assert list(await slice_of(run, calls[1:])) == [1, 2]
    await workload.close()


async def test_a_late_call_of_another_function_is_not_tried_again(tmp_path: Path) -> None:
    """It ran alone, so it is to blame, whatever was asked for."""
    workload, notes = PythonWorkload(), tmp_path / "notes"
    async with workload.open(asked("note_and_stay", 8, timeout_seconds=0.5)) as run:
        (outcome,) = await outcomes_of(run, [str(notes)])
    await workload.close()
    assert isinstance(outcome, ItemFailed)
    assert outcome.error_type == "timeout"
    assert notes.read_text(encoding="ascii") == "called "


async def test_nothing_begins_when_no_time_is_left() -> None:
    """By the clock of leases. The items are left."""
    workload, clock = PythonWorkload(), SystemClock()
    async with workload.open(asked("meet", 2)) as run:
        calls = calls_of([[0, 2], [1, 2]])
        assert await slice_of(run, calls, lambda: clock.monotonic() - 0.001) == {}
        assert sorted(await slice_of(run, calls, lambda: clock.monotonic() + 60.0)) == [0, 1]
    await workload.close()


async def test_slices_share_an_event_loop() -> None:
    """A client that the function keeps belongs to it; a task that it leaves behind holds up no slice."""
    workload = PythonWorkload()
    async with workload.open(asked("same_loop", 2)) as run:
        outcomes = await outcomes_of(run, [1, 2]) + await outcomes_of(run, [3, 4])
    await workload.close()
    assert [outcome.output_json for outcome in outcomes if isinstance(outcome, ItemSucceeded)] == [b"true"] * 4


async def test_deaths_count_from_slice_to_slice() -> None:
    """Each slice has time for one try; after the third the item has failed."""
    workload = PythonWorkload()
    async with workload.open(asked("behave", 2)) as run:
        calls = calls_of(["leave"])
        for _ in range(2):
            times = iter((math.inf, 0.0))
            assert await slice_of(run, calls, lambda times=times: next(times)) == {}  # type: ignore[misc]
        (outcome,) = (await slice_of(run, calls)).values()
    await workload.close()
    assert isinstance(outcome, ItemFailed)
    assert (outcome.error_type, outcome.attempt) == ("crashed", 3)


async def test_suspects_run_alone_in_the_next_slice_too() -> None:
    """There was no time for them in theirs."""
    workload = PythonWorkload()
    async with workload.open(asked("behave", 3)) as run:
        calls, times = calls_of(["fine", "leave", "stay briefly"]), iter((math.inf, 0.0))
        first = await slice_of(run, calls, lambda: next(times))
        second = await slice_of(run, [call for call in calls if call.index not in first])
    await workload.close()
    outcomes = first | second
    assert {index: isinstance(outcome, ItemSucceeded) for index, outcome in outcomes.items()} == {
        0: True,
        1: False,
        2: True,
    }
    assert (outcomes[1].attempt, outcomes[2].attempt) == (3, None)


async def test_a_worker_that_is_held_up_makes_no_item_late() -> None:
    """Its pipe is full, so the host stands still: what waited for something meanwhile has ended in time."""
    workload = PythonWorkload()
    ended: list[ItemOutcome] = []
    async with workload.open(asked("large_after", 40, timeout_seconds=0.5)) as run:
        calls = calls_of([0.01 * number for number in range(40)])
        async with aclosing(run.slice(calls, lambda: math.inf)) as given:
            async for some in given:
                ended += [outcome for _, outcome in some]
                if len(ended) < 10:
                    await _past(time.monotonic() + 0.7)  # longer than the items' limit
    await workload.close()
    assert [type(outcome) for outcome in ended] == [ItemSucceeded] * 40


@pytest.mark.parametrize("how", ["raise", "exit", "interrupt", "cancel"])
async def test_an_item_that_fails_fails_alone(how: str) -> None:
    """What it raises, and even what it does to its own task."""
    assert await words(["fine", how, "fine"]) == [("succeeded", None), ("exception", None), ("succeeded", None)]


@pytest.mark.parametrize("how", ["stop", "cancel all"])
async def test_an_item_that_ends_the_loop_fails_alone(how: str) -> None:
    """Those that ran beside it run again, one by one; the next slice runs."""
    workload = PythonWorkload()
    async with workload.open(asked("behave", 3)) as run:
        broken = await outcomes_of(run, ["stay briefly", how, "stay briefly"])
        after = await outcomes_of(run, ["fine"])
    await workload.close()
    assert [isinstance(outcome, ItemFailed) for outcome in broken] == [False, True, False]
    assert [isinstance(outcome, ItemSucceeded) for outcome in after] == [True]


async def test_an_item_that_kills_the_host_is_found() -> None:
    """They run again one by one: it dies three times in all by itself, and the others succeed."""
    assert await words(["fine", "leave", "fine", "fine"]) == [
        ("succeeded", None),
        ("crashed", 3),
        ("succeeded", None),
        ("succeeded", None),
    ]


async def test_items_that_ran_beside_a_death_can_use_their_client() -> None:
    """They run again one by one in a new host, and others at once after them, in one event loop."""
    workload = PythonWorkload()
    async with workload.open(asked("with_a_client", 3)) as run:
        outcomes = await outcomes_of(run, ["fine", "leave", "fine", "fine", "fine", "fine"])
    await workload.close()
    assert [outcome.error_type if isinstance(outcome, ItemFailed) else None for outcome in outcomes] == [
        None,
        "crashed",
        *[None] * 4,
    ]


async def test_the_last_item_is_not_blamed_for_what_another_left() -> None:
    """It alone runs when the loop is stopped; run again, it succeeds."""
    assert await words(["stop later", "stay a second"]) == [("succeeded", None), ("succeeded", None)]


@pytest.mark.parametrize("left", ["stop later", "exit later"])
async def test_an_item_that_runs_alone_is_not_blamed_for_what_another_left(left: str) -> None:
    """The loop is broken while it runs; in a new host it succeeds."""
    workload = PythonWorkload()
    async with workload.open(asked("behave", 1)) as run:
        outcomes = await outcomes_of(run, [left, "stay a second", "fine"])
    await workload.close()
    assert [(type(outcome), outcome.attempt) for outcome in outcomes] == [
        (ItemSucceeded, None),
        (ItemSucceeded, 2),
        (ItemSucceeded, None),
    ]


@pytest.mark.parametrize("how", ["stop", "cancel all", "exit", "interrupt"])
async def test_an_item_that_breaks_the_loop_alone_is_told_how(how: str) -> None:
    """It is the first of its host, so it is to blame, or the second: then it is once it has run in a new one."""
    workload = PythonWorkload()
    async with workload.open(asked("behave", 1)) as run:
        outcomes = await outcomes_of(run, [how, how, "fine"])
    await workload.close()
    assert [outcome.error_type if isinstance(outcome, ItemFailed) else None for outcome in outcomes] == [
        "exception",
        "exception",
        None,
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
