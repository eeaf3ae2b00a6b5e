"""The chunk runner in this process, on a real broker and a real Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.router.engines.chunks.fact_result import MAX_INLINE_BYTES
from services.router.engines.chunks.runner import ChunkRunner
from services.router.engines.chunks.task import ChunkOutcome, ChunkTask
from shared.history.clock import SystemClock
from shared.history.runs.claim_request import NOT_YET_SECONDS
from shared.settings import Settings
from tests.integration.chunk_running import HEARTBEAT_SECONDS, LEASE_SECONDS, chunk_runner
from tests.integration.item_pids import all_gone, begun, let_go, written_pids
from tests.integration.played_owner import FUNCTIONS, TRACE_ID, PlayedOwner
from tests.renewals import renewals_from_now
from tests.waiting import wait_until


class ShiftedClock(SystemClock):
    """The machine's clocks, moved on at will."""

    def __init__(self) -> None:
        self.shift_seconds = 0.0

    def monotonic(self) -> float:
        """As if so much more time had gone by."""
        return super().monotonic() + self.shift_seconds


async def held(owner: PlayedOwner, task: ChunkTask) -> None:
    """Wait until the chunk is claimed."""

    async def is_held() -> bool:
        return await owner.claim(task) == "held"

    await wait_until(is_held, description="the chunk is claimed")


async def test_a_chunk_runs_and_its_facts_are_in_the_history(
    settings: Settings, owner: PlayedOwner, runner: ChunkRunner
) -> None:
    """Twenty items: each result once, with the chunk's identity, times in order, and headers in the job's trace."""
    (task,) = await owner.plan(list(range(20)))
    assert await runner.run(task) is ChunkOutcome.DONE
    assert await owner.claim(task) == "done"
    records = await owner.records(task)
    results = [result for _, fact in records for result in fact.results]
    assert [(r.item_index, r.status, r.output, r.attempt) for r in results] == [
        (index, "succeeded", index * 2, 1) for index in range(20)
    ]
    headers, fact = records[0]
    assert headers["ce_type"] == "items.completed"
    assert headers["ce_subject"] == task.chunk_id.job_id
    assert headers["traceparent"].split("-")[1] == TRACE_ID
    assert (fact.chunk_id, fact.epoch, fact.stage_index) == (task.chunk, 1, 0)
    assert (fact.engine, fact.worker_id) == ("celery", "celery@test:1")
    times = fact.times
    assert times is not None
    assert task.dispatched_at == times.dispatched_at <= times.claimed_at <= times.started_at <= times.ended_at


async def test_only_missing_items_run(owner: PlayedOwner, runner: ChunkRunner) -> None:
    """Items that are in already are not run again; with none missing the claim is simply finished."""
    first, second = await owner.plan(list(range(20)), chunk_items=10, done=[0, 9, *range(10, 20)])
    assert await runner.run(first) is ChunkOutcome.DONE
    assert await runner.run(second) is ChunkOutcome.DONE
    assert await owner.claim(second) == "done"
    assert [result.item_index for result in await owner.results(first)] == list(range(1, 9))


async def test_a_duplicate_task_leaves(owner: PlayedOwner, runner: ChunkRunner, tmp_path: Path) -> None:
    """The same task twice at once, and once more afterwards: one runs, the others leave, each item ran once."""
    path = tmp_path / "notes"
    (task,) = await owner.plan([[str(path), "once"]] * 3, "note")
    outcomes = await asyncio.gather(runner.run(task), runner.run(task))
    assert sorted(outcome.value for outcome in outcomes) == ["done", "left"]
    assert await runner.run(task) is ChunkOutcome.LEFT
    assert path.read_text("utf-8") == "once\n" * 3


@pytest.mark.parametrize("claim", ["dead celery@other:1 1", "done celery@other:1 1", "held celery@other:1 r 1"])
async def test_a_claim_of_any_kind_is_left_alone(owner: PlayedOwner, runner: ChunkRunner, claim: str) -> None:
    """Even one whose lease is long over: only the owner decides what follows."""
    (task,) = await owner.plan([1])
    await owner.set_claim(task, claim)
    assert await runner.run(task) is ChunkOutcome.LEFT
    assert await owner.results(task) == []


async def test_replaced_and_ended_chunks_are_left(owner: PlayedOwner, runner: ChunkRunner) -> None:
    """A chunk that stands in no plan, and one whose job has ended, are not run."""
    (replaced,) = await owner.plan([1])
    await owner.replace(replaced)
    (ended,) = await owner.plan([1])
    await owner.end_job(ended)
    assert await runner.run(replaced) is ChunkOutcome.LEFT
    assert await runner.run(ended) is ChunkOutcome.LEFT


async def test_a_closed_gate_puts_the_task_back_and_never_runs(settings: Settings, owner: PlayedOwner) -> None:
    """While the gate is closed the runner waits; then a fresh task is put back, and an old one left to its owner."""

    class FastClock(ShiftedClock):
        """Each look at it takes a second."""

        def monotonic(self) -> float:
            self.shift_seconds += 1.0
            return super().monotonic()

    (task,) = await owner.plan([1])
    await owner.close_gate()
    async with chunk_runner(settings, clock=FastClock()) as runner:
        assert await runner.run(task) is ChunkOutcome.PUT_BACK
        age_ms = round((settings.claim_timeout_seconds + NOT_YET_SECONDS) * 1000)
        old = task.model_copy(update={"dispatched_at": task.dispatched_at - age_ms})
        assert await runner.run(old) is ChunkOutcome.LEFT
    assert await owner.results(task) == []
    assert await owner.claim(task) is None


async def test_a_gate_that_opens_lets_the_waiting_task_run(owner: PlayedOwner, runner: ChunkRunner) -> None:
    """A task that came before its job was known runs as soon as the owner has advanced."""
    (task,) = await owner.plan([1])
    await owner.close_gate()
    running = asyncio.create_task(runner.run(task))
    done, _ = await asyncio.wait({running}, timeout=0.3)
    assert not done
    await owner.open_gate()
    assert await running is ChunkOutcome.DONE


async def test_an_item_that_holds_the_interpreter_keeps_its_claim(settings: Settings, owner: PlayedOwner) -> None:
    """Two leases of C calls, one after another: the claim is renewed all the while, and the result counts."""
    lease_seconds = 2.5
    short = settings.model_copy(update={"lease_seconds": lease_seconds})
    async with chunk_runner(short) as runner:
        (task,) = await owner.plan([2 * lease_seconds], "hold_the_interpreter")
        running = asyncio.create_task(runner.run(task))
        await held(owner, task)
        leases: list[int] = []
        while (left_ms := await owner.lease_left_ms(task)) is not None:
            leases.append(left_ms)
            await asyncio.wait({running}, timeout=0.05)
        assert await running is ChunkOutcome.DONE
    assert min(leases) > 0
    (result,) = await owner.results(task)
    assert result.status == "succeeded"
    assert result.duration_ms is not None
    assert result.duration_ms >= 2 * lease_seconds * 1000


@pytest.mark.parametrize("how", ["replace", "end_job"])
async def test_cancel_stops_an_item_at_the_next_heartbeat(
    settings: Settings, owner: PlayedOwner, runner: ChunkRunner, tmp_path: Path, how: str
) -> None:
    """A chunk taken out of the plan, or whose job ended, is killed with all that its item started, unpublished."""
    (task,) = await owner.plan([str(tmp_path / "pids"), "never"], "pid_of_host")
    running = asyncio.create_task(runner.run(task))
    processes = await written_pids(tmp_path / "pids")
    redis_url = settings.redis_url.get_secret_value()
    async with renewals_from_now(redis_url, task.chunk) as renewals:
        await wait_until(renewals, description="the claim is renewed")
    await getattr(owner, how)(task)
    async with renewals_from_now(redis_url, task.chunk) as renewals:
        assert await running is ChunkOutcome.KILLED
        assert await renewals() <= 1
    await all_gone(processes)
    assert await owner.results(task) == []


async def test_no_item_begins_on_a_lease_that_is_over(settings: Settings, owner: PlayedOwner, tmp_path: Path) -> None:
    """With heartbeats a minute apart, a run whose lease ends during its first item does not begin the second."""
    slow = settings.model_copy(update={"heartbeat_seconds": 60.0, "lease_seconds": 120.0})
    first, second = tmp_path / "first", tmp_path / "second"
    clock = ShiftedClock()
    async with chunk_runner(slow, clock=clock) as runner:
        (task,) = await owner.plan([str(first), str(second)], "until_let_go")
        running = asyncio.create_task(runner.run(task))
        await begun(first)
        clock.shift_seconds = 120.0
        await let_go(first)
        assert await running is ChunkOutcome.KILLED
    assert not second.exists()


async def test_a_lost_claim_kills_the_run(owner: PlayedOwner, runner: ChunkRunner, tmp_path: Path) -> None:
    """A claim that the owner declared dead is never taken back."""
    (task,) = await owner.plan([str(tmp_path / "pids")], "pid_of_host")
    running = asyncio.create_task(runner.run(task))
    processes = await written_pids(tmp_path / "pids")
    await owner.set_claim(task, "dead celery@test:1 x")
    assert await running is ChunkOutcome.KILLED
    await all_gone(processes)
    assert await owner.claim(task) == "dead"


async def test_heartbeats_create_the_claim_again_after_a_wipe(
    owner: PlayedOwner, runner: ChunkRunner, tmp_path: Path
) -> None:
    """An emptied Redis does not kill runs: the claim comes back while the gate is closed, and the chunk finishes."""
    path = tmp_path / "item"
    (task,) = await owner.plan([str(path)], "until_let_go")
    running = asyncio.create_task(runner.run(task))
    await begun(path)
    await owner.forget_everything()
    await held(owner, task)
    await let_go(path)
    assert await running is ChunkOutcome.DONE
    assert [result.output for result in await owner.results(task)] == ["let go"]


async def test_a_run_that_stood_still_for_a_lease_stops_without_asking(
    settings: Settings, owner: PlayedOwner, tmp_path: Path
) -> None:
    """By its own clock the lease has lapsed: the run is killed although Redis would still renew it."""
    clock = ShiftedClock()
    async with chunk_runner(settings, clock=clock) as runner:
        (task,) = await owner.plan([str(tmp_path / "pids")], "pid_of_host")
        running = asyncio.create_task(runner.run(task))
        processes = await written_pids(tmp_path / "pids")
        clock.shift_seconds = LEASE_SECONDS
        asked_until = await owner.lease_end_ms(task)
        assert await running is ChunkOutcome.KILLED
        await all_gone(processes)
    assert await owner.lease_end_ms(task) <= asked_until + HEARTBEAT_SECONDS * 1000
    assert await owner.claim(task) == "held"


async def test_results_are_flushed_while_a_long_item_runs(owner: PlayedOwner, runner: ChunkRunner) -> None:
    """What is done is published after `flush_seconds`, whatever the next item does."""
    (task,) = await owner.plan([0, 0, 60], "sleep")
    running = asyncio.create_task(runner.run(task))

    async def two() -> bool:
        return len(await owner.results(task)) == 2

    await wait_until(two, description="two results are in the history")
    assert not running.done()
    await owner.replace(task)
    assert await running is ChunkOutcome.KILLED
    assert len(await owner.results(task)) == 2


async def test_facts_are_split_by_number_and_by_bytes(settings: Settings, owner: PlayedOwner) -> None:
    """No fact holds more than `flush_items` results, nor much more than 700 kB."""
    many = settings.model_copy(update={"flush_items": 8, "flush_seconds": 60.0})
    async with chunk_runner(many) as runner:
        (task,) = await owner.plan(list(range(20)))
        assert await runner.run(task) is ChunkOutcome.DONE
        assert [len(fact.results) for _, fact in await owner.records(task)] == [8, 8, 4]
    wide = settings.model_copy(update={"flush_items": 1000, "flush_seconds": 60.0})
    async with chunk_runner(wide) as runner:
        (task,) = await owner.plan([30_000] * 30, "text_of")
        assert await runner.run(task) is ChunkOutcome.DONE
        facts = [fact for _, fact in await owner.records(task)]
        assert sum(len(fact.results) for fact in facts) == 30
        assert len(facts) == 2
        assert max(len(fact.encode()) for fact in facts) < 720_000


async def test_large_outputs_go_to_the_blob_store(owner: PlayedOwner, runner: ChunkRunner, tmp_path: Path) -> None:
    """Above 32 KiB a result is a reference; above 64 MiB it has failed."""
    sizes = [MAX_INLINE_BYTES - 2, MAX_INLINE_BYTES, 64 * 1024 * 1024]
    (task,) = await owner.plan(sizes, "text_of")
    assert await runner.run(task) is ChunkOutcome.DONE
    inline, by_reference, too_large = await owner.results(task)
    assert isinstance(inline.output, str)
    assert len(inline.output) == sizes[0]
    assert by_reference.output is None
    job_id = task.chunk_id.job_id
    file = tmp_path / "blobs" / "default" / job_id / "0" / "1" / "1.json"
    assert by_reference.output_url == file.as_uri()
    assert file.read_bytes() == b'"' + b"x" * sizes[1] + b'"'
    assert (too_large.status, too_large.error_type) == ("failed", "result_too_large")


@pytest.mark.parametrize(
    ("function", "item", "error_type", "message"),
    [
        ("fail", 3, "exception", "ValueError: no 3"),
        ("no_such_name", 3, "exception", "AttributeError"),
        ("not_callable", 3, "exception", "cannot be called"),
        ("sys.exit", 3, "denied", "another module"),
        ("leave", 7, "crashed", "exit status 7; tried 3 times"),
        ("crash_by_segfault", None, "crashed", "SIGSEGV; tried 3 times"),
        ("odd", "nan", "result_not_json", "nan is no JSON number"),
        ("odd", "large", "result_not_json", "2^53 - 1"),
        ("odd", "names", "result_not_json", "name is of type int"),
        ("odd", "set", "result_not_json", "type set"),
        ("odd", "bytes", "result_not_json", "type bytes"),
        ("odd", "surrogate", "result_not_json", "surrogate"),
        ("odd", "deep", "result_not_json", "deeper than 61"),
    ],
)
async def test_what_goes_wrong_in_an_item_is_its_result(
    owner: PlayedOwner, runner: ChunkRunner, function: str, item: Any, error_type: str, message: str
) -> None:
    """Each failure has its word; the chunk is done all the same."""
    (task,) = await owner.plan([item], function)
    assert await runner.run(task) is ChunkOutcome.DONE
    (result,) = await owner.results(task)
    assert (result.status, result.error_type) == ("failed", error_type)
    assert message in (result.error_message or "")
    assert result.attempt == (3 if error_type == "crashed" else 1)


async def test_an_item_that_is_too_slow_is_killed_and_the_next_one_runs(
    owner: PlayedOwner, runner: ChunkRunner
) -> None:
    """`item_timeout_ms` counts for each item of its own."""
    (task,) = await owner.plan([0, 600, 0], "sleep", item_timeout_ms=3000)
    assert await runner.run(task) is ChunkOutcome.DONE
    results = await owner.results(task)
    assert [(result.status, result.error_type) for result in results] == [
        ("succeeded", None),
        ("failed", "timeout"),
        ("succeeded", None),
    ]
    assert results[1].error_message == "it took longer than 3 s"


async def test_an_item_whose_host_died_is_tried_again(owner: PlayedOwner, runner: ChunkRunner, tmp_path: Path) -> None:
    """The third try succeeds, and says that it was the third (the chunk itself had died once before)."""
    (task,) = await owner.plan([str(tmp_path / "count")], "crash_until")
    assert await runner.run(task.model_copy(update={"attempt": 2})) is ChunkOutcome.DONE
    (result,) = await owner.results(task)
    assert (result.status, result.output, result.attempt) == ("succeeded", 3, 4)


async def test_coroutines_are_awaited(owner: PlayedOwner, runner: ChunkRunner) -> None:
    """A coroutine function is as good as a plain one."""
    (task,) = await owner.plan([1, "a"], "double_later")
    assert await runner.run(task) is ChunkOutcome.DONE
    assert [result.output for result in await owner.results(task)] == [2, "aa"]


async def test_prints_go_to_the_log_and_never_into_answers(
    settings: Settings, owner: PlayedOwner, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that prints, also to descriptor 1, still answers; the log is bounded; its standard input is empty."""
    (task,) = await owner.plan([1000, 1], "chatter")
    with caplog.at_level("INFO", logger="services.router.engines.python.host_log"):
        async with chunk_runner(settings) as runner:
            assert await runner.run(task) is ChunkOutcome.DONE
            assert [result.output for result in await owner.results(task)] == ["", ""]
    # Its host has ended, and all that it has printed is read.
    assert "more lines were not logged" in caplog.text
    assert "line 0" in caplog.text
    # Of each of the two slices; what the first has printed may be read while the second one runs.
    assert sum("more lines" not in record.getMessage() for record in caplog.records) <= 2 * 200


async def test_a_function_that_this_worker_does_not_allow_is_denied(settings: Settings, owner: PlayedOwner) -> None:
    """The allow-list is asked again where the item runs."""
    strict = settings.model_copy(update={"python_functions": ("math:*",)})
    async with chunk_runner(strict) as runner:
        (task,) = await owner.plan([1])
        assert await runner.run(task) is ChunkOutcome.DONE
    (result,) = await owner.results(task)
    assert result.error_type == "denied"


async def test_a_workload_that_is_not_installed_fails_its_items(owner: PlayedOwner, runner: ChunkRunner) -> None:
    """The message names what is installed."""
    (task,) = await owner.plan([1, 2], workload="unheard-of")
    assert await runner.run(task) is ChunkOutcome.DONE
    results = await owner.results(task)
    assert [(result.status, result.error_type) for result in results] == [("failed", "internal")] * 2
    assert "installed: " in (results[0].error_message or "")


async def test_the_item_host_is_kept_between_chunks(owner: PlayedOwner, runner: ChunkRunner) -> None:
    """Two chunks of one job, one after another, are run by the same process."""
    tasks = await owner.plan([None, None], options={"function": f"{FUNCTIONS}:own_pid"}, chunk_items=1)
    for task in tasks:
        assert await runner.run(task) is ChunkOutcome.DONE
    assert len({result.output for result in await owner.results(tasks[0])}) == 1


async def test_cancelling_the_runner_kills_the_run(owner: PlayedOwner, runner: ChunkRunner, tmp_path: Path) -> None:
    """A worker that shuts down leaves nothing behind; the claim dies by its lease."""
    (task,) = await owner.plan([str(tmp_path / "pids")], "pid_of_host")
    running = asyncio.create_task(runner.run(task))
    processes = await written_pids(tmp_path / "pids")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await all_gone(processes)
    assert await owner.claim(task) == "held"
