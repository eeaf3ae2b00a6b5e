"""Runners on a real Ray head, asked by a real driver; the owner's side is played."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from eldermesh_cli.stack.processes.identity import ProcessIdentity
from eldermesh_cli.stack.servers.ray import EmbeddedRay
from services.router.engines.chunks.task import ChunkTask
from services.router.engines.ray.queue import RayDispatcher
from shared.redis_client import make_redis
from shared.settings import Settings
from tests.fresh_topics import fresh_topics
from tests.integration.item_pids import all_gone
from tests.integration.played_owner import FUNCTIONS, PlayedOwner
from tests.leaks import living_below
from tests.ray_head import reaching, runner_pids
from tests.renewals import renewals_from_now
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

LEASE_SECONDS = 4.0
HEARTBEAT_SECONDS = 0.5
QUEUE: dict[str, Any] = {"workload": "python", "queue": "batch_tasks"}


@pytest.fixture
async def settings(
    embedded_broker: str, redis_server: str, ray_head: EmbeddedRay, tmp_path: Path
) -> AsyncIterator[Settings]:
    """Settings with topics, keys and runners of their own and a short lease."""
    async with fresh_topics(
        embedded_broker,
        "embedded",
        redis_url=redis_server,
        data_dir=tmp_path,
        python_functions=(f"{FUNCTIONS}:*",),
        lease_seconds=LEASE_SECONDS,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        ray_max_runners=1,
        ray_idle_seconds=3.0,
        **reaching(ray_head),
    ) as made:
        yield made
    redis = make_redis(made)
    async for key in redis.scan_iter(match=f"{made.topic_prefix}*"):
        await redis.unlink(key)
    await redis.aclose()


@pytest.fixture
async def ray(settings: Settings, ray_head: EmbeddedRay) -> AsyncIterator[RayDispatcher]:
    """The router's side; the runner has left afterwards, so that the next test has room for its own."""
    dispatcher = RayDispatcher(settings)
    yield dispatcher
    await dispatcher.close()
    await wait_until(lambda: not runner_pids(ray_head), description="idle runners have ended")


async def all_are(owner: PlayedOwner, tasks: list[ChunkTask], claim: str) -> None:
    """Wait until all chunks have such a claim."""

    async def are() -> bool:
        return {await owner.claim(task) for task in tasks} == {claim}

    await wait_until(are, description=f"the chunks are {claim}")


async def test_cancel_stops_an_item_that_holds_the_interpreter(
    settings: Settings, owner: PlayedOwner, ray: RayDispatcher, ray_head: EmbeddedRay
) -> None:
    """Out of the plan, the item's process is dead at the run's next heartbeat; its runner takes the next chunk."""
    (task,) = await owner.plan([600], "hold_the_interpreter")
    await ray.dispatch([task], **QUEUE, priority=3)
    await all_are(owner, [task], "held")
    (runner,) = runner_pids(ray_head)

    def hosts() -> list[ProcessIdentity]:
        family = psutil.Process(runner).children(recursive=True)
        return [each for child in family if (each := ProcessIdentity.of(child.pid)) is not None]

    running = await wait_until(hosts, description="the item runs")
    await owner.replace(task)
    async with renewals_from_now(settings.redis_url.get_secret_value(), task.chunk) as renewals:
        await all_gone(running)
        assert await renewals() <= 1
    assert await owner.results(task) == []
    (after,) = await owner.plan([1])
    await ray.dispatch([after], **QUEUE, priority=3)
    await all_are(owner, [after], "done")
    assert runner_pids(ray_head) == {runner}


async def test_priorities_decide_what_comes_next(owner: PlayedOwner, ray: RayDispatcher, tmp_path: Path) -> None:
    """With one runner: 0 goes before 3 and 3 before 6, whatever came first; a repeat runs nothing twice."""
    notes = tmp_path / "notes"
    first, batch, normal, interactive = await owner.plan(
        [[str(notes), word] for word in ("first", "batch", "normal", "interactive")], "note", chunk_items=1
    )
    await owner.close_gate()  # so that the first one waits with the runner
    await ray.dispatch([first], **QUEUE, priority=0)
    await wait_until(lambda: ray.depths.get("python", {}).get("running") == 1, description="a runner has the first")
    await ray.dispatch([batch], **QUEUE, priority=6)
    await ray.dispatch([normal, normal], **QUEUE, priority=3)
    await ray.dispatch([interactive], **QUEUE, priority=0)
    await wait_until(lambda: ray.depths["python"]["waiting"] == 3, description="three wait")
    await owner.open_gate()
    await all_are(owner, [first, batch, normal, interactive], "done")
    assert notes.read_text("utf-8").splitlines() == ["first", "interactive", "normal", "batch"]
    await wait_until(lambda: ray.outstanding == 0, description="all are known to have ended")


async def test_a_task_before_its_time_is_put_back(owner: PlayedOwner, ray: RayDispatcher) -> None:
    """While the gate is closed the task goes round, longer than a runner waits; when the gate opens it runs, once."""
    (task,) = await owner.plan([1])
    await owner.close_gate()
    await ray.dispatch([task], **QUEUE, priority=3)

    def put_back() -> bool:
        depths = ray.depths.get("python", {})
        return depths.get("runners") == 1 and depths.get("running") == 0

    await wait_until(lambda: ray.depths.get("python", {}).get("running") == 1, description="a runner has it")
    await wait_until(put_back, description="it was put back")
    assert ray.outstanding == 1
    await owner.open_gate()
    await all_are(owner, [task], "done")
    assert len(await owner.results(task)) == 1


async def test_another_driver_gets_what_one_left(owner: PlayedOwner, ray: RayDispatcher, ray_head: EmbeddedRay) -> None:
    """SIGKILL of the driver while a chunk runs and others wait: all run, once, and no claim time-out is waited for."""
    tasks = await owner.plan([0.3] * 6, "sleep", chunk_items=1)
    await ray.dispatch(tasks, **QUEUE, priority=3)
    await wait_until(lambda: ray.depths.get("python", {}).get("running") == 1, description="a runner has one")
    drivers = [
        each.pid for each in psutil.Process().children(recursive=True) if "ray.driver" in " ".join(each.cmdline()[3:5])
    ]
    assert len(drivers) == 1
    os.kill(drivers[0], signal.SIGKILL)
    await all_are(owner, tasks, "done")
    results = await owner.results(tasks[0])
    assert sorted(result.item_index for result in results) == list(range(6))
    assert {result.attempt for result in results} == {1}  # the runner outlived its driver
    await wait_until(lambda: ray.outstanding == 0, description="all are known to have ended")


async def test_a_driver_may_bring_a_node_of_its_own(
    settings: Settings, owner: PlayedOwner, ray_head: EmbeddedRay, tmp_path: Path
) -> None:
    """No node of the cluster is on the router's host: one without CPUs joins it there, and goes with the driver."""
    joining = settings.model_copy(update={"ray_join": True, "ray_dir": tmp_path / "joined"})
    before = set(living_below(os.getpid()))
    dispatcher = RayDispatcher(joining)
    (task,) = await owner.plan([1])
    await dispatcher.dispatch([task], **QUEUE, priority=3)
    await all_are(owner, [task], "done")
    joined = [each for each in living_below(os.getpid()) if each not in before]
    assert "raylet" in {psutil.Process(each.pid).name() for each in joined}
    await dispatcher.close()
    await wait_until(lambda: not runner_pids(ray_head), description="idle runners have ended")
    left = set(living_below(os.getpid())) - before
    assert not {psutil.Process(each.pid).name() for each in left} & {"raylet", "gcs_server"}
