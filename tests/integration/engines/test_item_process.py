"""Slices of items in a real item host: what begins, what is told of a death, and what a time limit counts."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest
from pydantic import JsonValue

from services.router.engines.python import host_answers, slice_progress
from services.router.engines.python.item_process import HostDiedError, HostTimeoutError, ItemProcess
from services.router.engines.python.workload import PythonWorkload
from shared.history.clock import SystemClock
from shared.settings import Settings
from shared.workloads import ItemCall, ItemFailed, ItemOutcome, ItemSucceeded, RunContext
from tests.integration.item_pids import begun, let_go
from tests.waiting import wait_until

FUNCTIONS = "tests.integration.item_functions"
LIMIT_SECONDS = 60.0


@pytest.fixture
async def host() -> AsyncIterator[ItemProcess]:
    """An item host that is started at its first slice."""
    process = ItemProcess()
    yield process
    await process.close()


class Slice:
    """One slice, and the outcomes that came of it, in order."""

    def __init__(self, host: ItemProcess, function: str, items: Sequence[JsonValue]) -> None:
        self._host = host
        self._function = f"{FUNCTIONS}:{function}"
        self._items = items
        self.outcomes: list[ItemOutcome] = []

    async def run(self, *, until: float = math.inf, timeout_seconds: float | None = LIMIT_SECONDS) -> list[ItemOutcome]:
        """Run it; `until` is when the last item may begin."""
        given = self._host.slice(self._function, self._items, timeout_seconds=timeout_seconds, before=lambda: until)
        async with aclosing(given):
            async for outcomes in given:
                self.outcomes += [outcome for _, outcome in outcomes]
        return self.outcomes


@pytest.fixture
def only_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that never looks by itself."""
    monkeypatch.setattr(host_answers, "LOOK_SECONDS", 3600.0)


@pytest.mark.usefixtures("only_rings")
async def test_large_answers_ring(host: ItemProcess) -> None:
    """They do not fit the pipe, so they are read while they are written, and hold up no item that follows."""
    size = 3 * 1024 * 1024
    outcomes = await Slice(host, "text_of", [size] * 4).run(timeout_seconds=20.0)
    assert [len(outcome.output_json) for outcome in outcomes if isinstance(outcome, ItemSucceeded)] == [size + 2] * 4


@pytest.mark.usefixtures("only_rings")
async def test_a_load_that_fails_rings(host: ItemProcess) -> None:
    """Also just after another request has been answered."""
    await Slice(host, "double", [1]).run()
    (outcome,) = await Slice(host, "is_not_there", [1]).run()
    assert isinstance(outcome, ItemFailed)
    assert outcome.error_type == "exception"


async def test_ten_thousand_items(host: ItemProcess) -> None:
    """Each has its own outcome, in order, and more than one comes at a time."""
    calls = 0
    given = host.slice(
        f"{FUNCTIONS}:double", list(range(10_000)), timeout_seconds=LIMIT_SECONDS, before=lambda: math.inf
    )
    outputs: list[bytes] = []
    async with aclosing(given):
        async for outcomes in given:
            calls += 1
            outputs += [outcome.output_json for _, outcome in outcomes if isinstance(outcome, ItemSucceeded)]
    assert outputs == [f"{2 * number}".encode() for number in range(10_000)]
    assert calls < 10_000


async def test_an_item_that_fails_is_one_of_many(host: ItemProcess, tmp_path: Path) -> None:
    """Those before and after it succeed, in the same host."""
    outcomes = await Slice(host, "fail_if_odd", [0, 1, 2]).run()
    assert [isinstance(outcome, ItemFailed) for outcome in outcomes] == [False, True, False]


async def test_no_time_is_left(host: ItemProcess, tmp_path: Path) -> None:
    """Nothing begins, and the host takes the next slice."""
    notes = tmp_path / "notes"
    assert await Slice(host, "note", [[str(notes), "x"]]).run(until=SystemClock().monotonic() - 0.001) == []
    pid = host.pid
    assert len(await Slice(host, "note", [[str(notes), "y"]]).run()) == 1
    assert (host.pid, notes.read_text("utf-8")) == (pid, "y\n")


async def test_a_host_that_stood_still_begins_nothing_when_it_wakes(host: ItemProcess, tmp_path: Path) -> None:
    """It is stopped while an item runs, and goes on when none may begin any more: that one ends, the next is left."""
    first, second = tmp_path / "first", tmp_path / "second"
    await Slice(host, "double", [1]).run()
    until = SystemClock().monotonic() + 2.0
    part = Slice(host, "until_let_go", [str(first), str(second)])
    running = asyncio.create_task(part.run(until=until))
    await begun(first)
    assert host.pid is not None
    os.kill(host.pid, signal.SIGSTOP)
    try:
        await let_go(first)
        await wait_until(lambda: SystemClock().monotonic() > until, description="no item may begin")
    finally:
        os.kill(host.pid, signal.SIGCONT)
    assert len(await running) == 1
    assert not second.exists()


async def test_a_death_names_the_item_that_ran(host: ItemProcess, tmp_path: Path) -> None:
    """All before it have outcomes; it and those after it have none."""
    part = Slice(host, "leave_if", [0, 0, 7, 0])
    with pytest.raises(HostDiedError, match="exit status 7") as died:
        await part.run()
    assert len(part.outcomes) == 2
    assert (died.value.running, died.value.was_idle) == ((2,), False)


@pytest.mark.parametrize("function", ["double", "double_later"], ids=["loaded before", "another function"])
async def test_a_host_that_died_idle_is_no_items_fault(host: ItemProcess, function: str) -> None:
    """Nothing of the slice had begun; the next one has a new host."""
    await Slice(host, "double", [1]).run()
    assert host.pid is not None
    os.kill(host.pid, signal.SIGKILL)
    with pytest.raises(HostDiedError) as died:
        await Slice(host, function, [1]).run()
    assert (died.value.running, died.value.was_idle) == ((), True)
    assert host.pid is None


def _context(tenant: str = "default") -> RunContext:
    """A chunk whose items may not die once."""
    settings = Settings(python_functions=(f"{FUNCTIONS}:*",), max_item_deaths=1, _env_file=None)
    return RunContext(
        job_id="job",
        tenant=tenant,
        labels={},
        stage=0,
        epoch=1,
        chunk_id="job/0/1/0-0",
        options={"function": f"{FUNCTIONS}:own_pid"},
        item_timeout_seconds=None,
        stream=False,
        settings=settings,
    )


async def _pid_of_host(workload: PythonWorkload, context: RunContext) -> int:
    """Of the host in which the only item of a chunk has run, at its first attempt."""
    call = ItemCall(index=0, item=None, attempt=1, idempotency_key="job/0/0", epoch=1)
    async with workload.open(context) as run, aclosing(run.slice([call], lambda: math.inf)) as slices:
        ((_, outcome),) = [each async for some in slices for each in some]
    assert isinstance(outcome, ItemSucceeded)
    assert outcome.attempt in {None, 1}
    return int(outcome.output_json)


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGSTOP])
async def test_an_item_after_the_end_of_an_idle_host_succeeds_at_its_first_attempt(
    ended_by: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although no item may die once, and each finds the host of the one before it dead, or stopped for good."""
    monkeypatch.setattr(slice_progress, "BEGIN_SECONDS", 3.0)
    workload, pids = PythonWorkload(), set[int]()
    try:
        for _ in range(3):
            pid = await _pid_of_host(workload, _context())
            os.kill(pid, ended_by)
            pids.add(pid)
    finally:
        await workload.close()
    assert len(pids) == 3


async def test_a_host_waits_for_chunks_of_its_tenant_alone() -> None:
    """What user code leaves in its process meets nobody else's jobs; few wait."""
    workload = PythonWorkload()
    try:
        first = {tenant: await _pid_of_host(workload, _context(tenant)) for tenant in "abcd"}
        assert len(set(first.values())) == 4
        assert {tenant: await _pid_of_host(workload, _context(tenant)) for tenant in "abcd"} == first
        await _pid_of_host(workload, _context("e"))
        await wait_until(lambda: not psutil.pid_exists(first["a"]), description="the one used longest ago has ended")
        assert await _pid_of_host(workload, _context("b")) == first["b"]
    finally:
        await workload.close()


async def test_a_time_limit_is_of_each_item(host: ItemProcess) -> None:
    """Twenty items take longer together than one may; then one does."""
    part = Slice(host, "sleep", [0.1] * 20 + [600.0, 0.0])
    with pytest.raises(HostTimeoutError, match="longer than 1 s"):
        await part.run(timeout_seconds=1.0)
    assert len(part.outcomes) == 20


async def test_answers_before_a_frame_that_no_host_writes_count(host: ItemProcess) -> None:
    """User code writes the end of a slice that is not over: the item before it has its outcome, the next has none."""
    part = Slice(host, "forge_the_end", [1, 2, 3])
    with pytest.raises(HostDiedError) as died:
        await part.run()
    assert len(part.outcomes) == 1
    assert died.value.running == (1,)
