"""The Celery engine: a real worker process, a real Redis, a real broker; only the owner is played."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from eldermesh_cli.stack.servers.free_ports import free_port
from services.router.engines.celery.app import QUEUES, RUN_CHUNK, make_celery_app
from services.router.engines.celery.queue import CeleryDispatcher
from services.router.engines.chunks.task import ChunkTask
from shared.errors import RetryableError
from shared.facts.jobs import ChunkInterrupted
from shared.history.foreign_state import celery_key_prefix
from shared.redis_client import make_redis
from shared.settings import Settings
from tests.fresh_topics import fresh_topics
from tests.integration.item_pids import all_gone, begun, let_go, written_pids
from tests.integration.played_owner import FUNCTIONS, PlayedOwner
from tests.integration.worker_process import WorkerProcess, running_worker
from tests.renewals import renewals_from_now
from tests.waiting import wait_until

LEASE_SECONDS = 3.0
HEARTBEAT_SECONDS = 0.5
DRAIN_SECONDS = 5.0
WITHIN_SECONDS = 60.0
"""Far above every limit that is asked for: a busy machine takes its time."""

pytestmark = pytest.mark.slow


@pytest.fixture
async def settings(embedded_broker: str, redis_server: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings with topics and queues of their own and a short lease."""
    async with fresh_topics(
        embedded_broker,
        "embedded",
        redis_url=redis_server,
        data_dir=tmp_path,
        python_functions=(f"{FUNCTIONS}:*",),
        slots=2,
        lease_seconds=LEASE_SECONDS,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        drain_seconds=DRAIN_SECONDS,
    ) as made:
        yield made
    redis = make_redis(made)
    async for key in redis.scan_iter(match=f"{made.topic_prefix}*"):
        await redis.unlink(key)
    await redis.aclose()


@pytest.fixture
async def worker(settings: Settings, tmp_path: Path) -> AsyncIterator[WorkerProcess]:
    """A worker with two children, ready."""
    with running_worker(settings, tmp_path) as running:
        await running.ready()
        yield running


async def all_are(owner: PlayedOwner, tasks: list[ChunkTask], claim: str, *, timeout_seconds: float = 60.0) -> None:
    """Wait until all chunks have such a claim."""

    async def are() -> bool:
        return {await owner.claim(task) for task in tasks} == {claim}

    await wait_until(are, description=f"the chunks are {claim}", timeout_seconds=timeout_seconds)


def acknowledged(celery: CeleryDispatcher) -> Callable[[], object]:
    """Whether Celery holds nothing at all."""

    async def nothing_left() -> bool:
        depths = await celery.queue_depths()
        return depths.unacknowledged == 0 and sum(depths.waiting.values()) == 0

    return nothing_left


async def test_a_job_runs_from_dispatch_to_history(
    owner: PlayedOwner, celery: CeleryDispatcher, worker: WorkerProcess
) -> None:
    """Three hundred items in twelve chunks on two children: each item counts once, every task is acknowledged."""
    tasks = await owner.plan(list(range(300)), chunk_items=25)
    await celery.dispatch(tasks, queue="batch_tasks", priority=3)
    await celery.dispatch(tasks[:3], queue="batch_tasks", priority=3)  # a repeat, as after a claim time-out
    await all_are(owner, tasks, "done")
    records = await owner.records(tasks[0])
    outputs = {result.item_index: result.output for _, fact in records for result in fact.results}
    assert outputs == {index: index * 2 for index in range(300)}
    assert sum(len(fact.results) for _, fact in records) == 300
    workers = {fact.worker_id for _, fact in records}
    assert {int(name.rpartition(":")[2]) for name in workers} <= set(worker.children())
    await wait_until(acknowledged(celery), description="all tasks are acknowledged")


async def test_a_cpu_bound_item_keeps_its_claim_and_cancel_stops_it(
    settings: Settings, owner: PlayedOwner, celery: CeleryDispatcher, worker: WorkerProcess
) -> None:
    """Two leases long the claim never lapses; out of the plan, the run is dead at its next heartbeat."""
    (task,) = await owner.plan([600], "hold_the_interpreter")
    await celery.dispatch([task], queue="batch_tasks", priority=3)
    await all_are(owner, [task], "held")
    loop = asyncio.get_running_loop()
    until = loop.time() + 2 * LEASE_SECONDS

    async def lapsed_or_long_enough() -> bool:
        assert (await owner.lease_left_ms(task) or 0) > 0
        return loop.time() > until

    await wait_until(lapsed_or_long_enough, description="two leases are over")
    hosts = [identity for identity in worker.family() if identity.pid not in {worker.process.pid, *worker.children()}]
    assert hosts
    await owner.replace(task)
    async with renewals_from_now(settings.redis_url.get_secret_value(), task.chunk) as renewals:
        await all_gone(hosts)
        assert await renewals() <= 1
    assert await owner.results(task) == []
    await wait_until(acknowledged(celery), description="the task is acknowledged")


async def test_a_killed_child_loses_its_claim_and_leaves_nothing(
    owner: PlayedOwner, celery: CeleryDispatcher, worker: WorkerProcess, tmp_path: Path
) -> None:
    """After SIGKILL of a child the item's process and what it started are gone, the lease lapses, others go on."""
    (task,) = await owner.plan([str(tmp_path / "pids")], "pid_of_host")
    await celery.dispatch([task], queue="batch_tasks", priority=3)
    processes = await written_pids(tmp_path / "pids")
    child = worker.child_above(processes[0])
    os.kill(child, signal.SIGKILL)
    await all_gone(processes)

    async def lapsed() -> bool:
        return (await owner.lease_left_ms(task) or 0) <= 0

    await wait_until(lapsed, description="the lease has lapsed")
    assert await owner.claim(task) == "held"
    assert await owner.results(task) == []
    others = await owner.plan(list(range(8)), chunk_items=2)
    await celery.dispatch(others, queue="batch_tasks", priority=3)
    await all_are(owner, others, "done")
    await wait_until(
        lambda: len(worker.children()) == 2 and child not in worker.children(),
        description="another child takes its place",
    )


async def test_a_killed_worker_leaves_no_process(
    owner: PlayedOwner, celery: CeleryDispatcher, worker: WorkerProcess, tmp_path: Path
) -> None:
    """SIGKILL of the worker alone: its children, their item hosts and what these started die with it."""
    (task,) = await owner.plan([str(tmp_path / "pids")], "pid_of_host")
    await celery.dispatch([task], queue="batch_tasks", priority=3)
    processes = await written_pids(tmp_path / "pids")
    family = worker.family()
    assert {process.pid for process in processes} < {identity.pid for identity in family}
    worker.process.kill()
    worker.process.wait(60)
    await all_gone(family)


async def test_sigterm_lets_tasks_end_and_then_does_not(
    owner: PlayedOwner, celery: CeleryDispatcher, worker: WorkerProcess, tmp_path: Path
) -> None:
    """An item that ends soon finishes and counts; a long one is interrupted after `drain_seconds`.

    It is said that nobody died, nothing is left, and the status is 0.
    """
    ends, goes_on = tmp_path / "ends", tmp_path / "goes on"
    short, long = await owner.plan([str(ends), str(goes_on)], "until_let_go", chunk_items=1)
    await celery.dispatch([short, long], queue="batch_tasks", priority=3)
    await begun(goes_on)
    await begun(ends)
    family = worker.family()
    worker.process.terminate()
    await let_go(ends)
    await wait_until(lambda: worker.process.poll() is not None, description="the worker ends")
    assert worker.process.returncode == 0
    await all_gone(family)
    assert await owner.claim(short) == "done"
    assert await owner.claim(long) == "held", "the advance past the fact removes it"
    said = [fact for _, fact in await owner.facts(long) if isinstance(fact, ChunkInterrupted)]
    assert [fact.chunk_id for fact in said] == [long.chunk]
    assert not (tmp_path / "ready").exists()
    assert "Traceback" not in worker.log.read_text("utf-8")


async def test_priorities_decide_what_comes_next(
    settings: Settings, owner: PlayedOwner, celery: CeleryDispatcher, tmp_path: Path
) -> None:
    """Of what waits, 0 goes before 3 and 3 before 6, across queues."""
    notes = tmp_path / "notes"
    batch, normal, interactive, other = await owner.plan(
        [[str(notes), word] for word in ("batch", "normal", "interactive", "other queue")], "note", chunk_items=1
    )
    await celery.dispatch([batch], queue="batch_tasks", priority=6)
    await celery.dispatch([other], queue="notifications", priority=6)
    await celery.dispatch([normal], queue="batch_tasks", priority=3)
    await celery.dispatch([interactive], queue="batch_tasks", priority=0)
    with running_worker(settings.model_copy(update={"slots": 1}), tmp_path) as worker:
        await worker.ready()
        await all_are(owner, [batch, normal, interactive, other], "done")
    order = notes.read_text("utf-8").splitlines()
    assert order[:2] == ["interactive", "normal"]
    assert sorted(order[2:]) == ["batch", "other queue"]


async def test_a_task_before_its_time_is_put_back(
    settings: Settings, owner: PlayedOwner, celery: CeleryDispatcher, worker: WorkerProcess
) -> None:
    """While the gate is closed the task goes round, keeping its priority; when the gate opens it runs, once."""
    (task,) = await owner.plan([1])
    await owner.close_gate()
    await celery.dispatch([task], queue="batch_tasks", priority=6)

    redis = make_redis(settings)

    async def deliveries() -> set[Any]:
        return set(await redis.hkeys(f"{celery_key_prefix(settings)}unacked"))

    first = await wait_until(deliveries, description="a worker has it")

    async def delivered_again() -> bool:
        now = await deliveries()
        return bool(now) and not now & first

    await wait_until(delivered_again, description="it was delivered again")
    await redis.aclose()
    await owner.open_gate()
    await all_are(owner, [task], "done")
    assert len(await owner.results(task)) == 1
    await wait_until(acknowledged(celery), description="the task is acknowledged")
    assert worker.process.poll() is None


async def test_what_is_no_task_is_dropped(
    settings: Settings, owner: PlayedOwner, celery: CeleryDispatcher, worker: WorkerProcess
) -> None:
    """A message that is no chunk task, one of an unknown task and one that is pickled stop nobody."""
    app = make_celery_app(settings)
    app.send_task(RUN_CHUNK, kwargs={"chunk": "no/such"}, queue="batch_tasks")
    app.send_task("somebody.elses", kwargs={}, queue="batch_tasks")
    app.send_task(RUN_CHUNK, kwargs={}, queue="batch_tasks", serializer="pickle")
    (task,) = await owner.plan([1])
    await celery.dispatch([task], queue="batch_tasks", priority=3)
    await all_are(owner, [task], "done")
    app.close()
    await wait_until(acknowledged(celery), description="all of them are acknowledged")
    assert worker.process.poll() is None


async def test_a_run_outlives_a_lost_connection_to_redis(
    settings: Settings, owner: PlayedOwner, celery: CeleryDispatcher, worker: WorkerProcess, tmp_path: Path
) -> None:
    """Every connection is cut while an item runs: the run goes on and finishes, and the worker takes tasks again."""
    path = tmp_path / "item"
    (task,) = await owner.plan([str(path)], "until_let_go")
    await celery.dispatch([task], queue="batch_tasks", priority=3)
    await begun(path)
    children = worker.children()
    redis = make_redis(settings)
    await redis.client_kill_filter(_type="normal", skipme=True)
    async with renewals_from_now(settings.redis_url.get_secret_value(), task.chunk) as renewals:
        await wait_until(renewals, description="the claim is renewed on another connection")
    await redis.aclose()
    await let_go(path)
    await all_are(owner, [task], "done")
    (after,) = await owner.plan([2])
    await celery.dispatch([after], queue="batch_tasks", priority=3)
    await all_are(owner, [after], "done")
    assert worker.children() == children
    assert [result.attempt for result in await owner.results(task)] == [1]


async def test_depths(settings: Settings, owner: PlayedOwner, celery: CeleryDispatcher) -> None:
    """Tasks of all priorities are counted by queue, until they are gone."""
    tasks = await owner.plan(list(range(6)), chunk_items=1)
    await celery.dispatch(tasks[:3], queue="batch_tasks", priority=0)
    await celery.dispatch(tasks[3:5], queue="batch_tasks", priority=6)
    await celery.dispatch(tasks[5:], queue="claude_tasks", priority=3)
    depths = await celery.queue_depths()
    assert depths.waiting == dict.fromkeys(QUEUES, 0) | {"batch_tasks": 5, "claude_tasks": 1}
    assert depths.unacknowledged == 0
    assert await asyncio.to_thread(make_celery_app(settings).control.purge) == 6
    assert set((await celery.queue_depths()).waiting.values()) == {0}


async def test_without_redis_dispatch_says_so_in_time(settings: Settings, owner: PlayedOwner) -> None:
    """Nobody listens: the caller learns it within the limit and can try again."""
    tasks = await owner.plan([1])
    dispatcher = CeleryDispatcher(
        Settings(**(settings.model_dump() | {"redis_url": f"redis://127.0.0.1:{free_port()}/0"}), _env_file=None),
        timeout_seconds=2.0,
    )
    async with asyncio.timeout(WITHIN_SECONDS):
        with pytest.raises(RetryableError, match="Redis"):
            await dispatcher.dispatch(tasks, queue="batch_tasks", priority=3)
    await dispatcher.close()


async def test_a_redis_that_hangs_holds_nobody_for_long(settings: Settings, owner: PlayedOwner) -> None:
    """Something accepts connections and never answers: the caller's loop goes on, and the call ends in time."""
    tasks = await owner.plan([1])

    writers: list[asyncio.StreamWriter] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.read()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    dispatcher = CeleryDispatcher(
        Settings(**(settings.model_dump() | {"redis_url": f"redis://127.0.0.1:{port}/0"}), _env_file=None),
        timeout_seconds=1.0,
    )
    async with asyncio.timeout(WITHIN_SECONDS):
        with pytest.raises(RetryableError, match="did not answer in 1 s"):
            await dispatcher.dispatch(tasks, queue="batch_tasks", priority=3)
    with pytest.raises(RetryableError):
        await dispatcher.close()
    server.close()
    for writer in writers:
        writer.close()
        await writer.wait_closed()
