"""What befalls owners and Redis while jobs run, on real brokers: nothing is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from eldermesh.client import Client, SubmittedJob
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.partitions import partition_of
from services.router.engines.celery.queue import CeleryDispatcher
from services.router.engines.chunks.task import ChunkTask
from shared.facts.jobs import ItemsCompleted, JobAccepted, JobEnded, JobRouted
from shared.history.chunk_id import ChunkId
from shared.history.keys import PartitionKeys
from shared.kafka.topics import JOBS_DEAD, JOBS_DONE, JOBS_HISTORY, JOBS_PROGRESS
from shared.settings import Settings
from tests.faults.recorded_work import recorded
from tests.fresh_topics import AnyBroker
from tests.mesh_services import MeshServices, mesh_services
from tests.public_topics import assert_invariants
from tests.waiting import wait_until
from tests.whole_topic import end_offsets, read_topic

WAIT_SECONDS = 300.0
ENDED_JOBS = int(os.environ.get("MESH_TEST_ENDED_JOBS", "400"))
_AT_ONCE = 50
"""How many ended jobs a router has to load when it starts."""

FIVE_JOBS_ITEMS = 50
"""Of each of five jobs: some chunks are in, run, and wait when router and worker are killed."""


@asynccontextmanager
async def _mesh(broker: AnyBroker, directory: Path, *, append_only: bool = False) -> AsyncIterator[MeshServices]:
    async with mesh_services(
        broker.bootstrap,
        broker.profile,
        directory,
        append_only=append_only,
        python_functions="time:sleep,math:*,tests.faults.recorded_work:*",
        lease_seconds=5.0,
        heartbeat_seconds=0.5,
        chunk_items=10,
        group_session_seconds=6.0 if broker.profile == "kafka" else None,
    ) as mesh:
        yield mesh


def _sleeping(items: int) -> JobSubmit:
    return JobSubmit(workload="python", items=[0.05] * items, options={"function": "time:sleep"})


async def _items_ended(client: Client, job_id: str, at_least: int) -> None:
    async for progress in client.progress(job_id):
        if progress.items_ended >= at_least:
            return


async def test_a_stale_owner_does_no_harm(any_broker: AnyBroker, tmp_path: Path) -> None:
    """A router is stopped (SIGSTOP) until a second one has taken over and ended the job, then goes on."""
    async with (
        _mesh(any_broker, tmp_path) as mesh,
        Client(any_broker.bootstrap, mesh.settings.topic_prefix) as client,
    ):
        stale_pid = mesh.router.pid
        assert stale_pid is not None
        first = await client.submit(_sleeping(120))
        await _items_ended(client, first.job_id, 20)
        os.kill(stale_pid, signal.SIGSTOP)
        second_router = mesh.another_router()
        try:
            await second_router.bring_up()
            end = await client.wait(first.job_id, WAIT_SECONDS)
            assert (end.status, end.items_succeeded) == ("completed", 120)
            os.kill(stale_pid, signal.SIGCONT)
            later = [await client.submit(_sleeping(20)) for _ in range(6)]
            ends = [await client.wait(job.job_id, WAIT_SECONDS) for job in later]
            assert {end.status for end in ends} == {"completed"}
            await assert_invariants(
                any_broker.bootstrap,
                mesh.settings.topic_prefix,
                expect_jobs={first.job_id, *(job.job_id for job in later)},
            )
        finally:
            os.kill(stale_pid, signal.SIGCONT)
            await second_router.shut_down()


async def test_a_flushed_redis_is_filled_from_the_log(any_broker: AnyBroker, tmp_path: Path) -> None:
    """FLUSHALL in the middle of a job: states, claims and Celery's queues are gone, the job ends all the same."""
    async with (
        _mesh(any_broker, tmp_path) as mesh,
        Client(any_broker.bootstrap, mesh.settings.topic_prefix) as client,
    ):
        job = await client.submit(_sleeping(120))
        await _items_ended(client, job.job_id, 20)
        async with Redis.from_url(mesh.redis.url) as redis:
            await redis.flushall()
        end = await client.wait(job.job_id, WAIT_SECONDS)
        assert (end.status, end.items_succeeded) == ("completed", 120)
        await assert_invariants(any_broker.bootstrap, mesh.settings.topic_prefix, expect_jobs={job.job_id})


async def test_a_redis_from_an_older_file(any_broker: AnyBroker, tmp_path: Path) -> None:
    """Redis dies and comes back as it was many facts ago: the owner folds again from there, in the same words."""
    async with (
        _mesh(any_broker, tmp_path, append_only=True) as mesh,
        Client(any_broker.bootstrap, mesh.settings.topic_prefix) as client,
    ):
        ended = await client.submit(_sleeping(10))
        await client.wait(ended.job_id, WAIT_SECONDS)
        job = await client.submit(_sleeping(160))
        await _items_ended(client, job.job_id, 10)
        pids = mesh.router.pid, mesh.worker.pid
        files, older = tmp_path / "redis", tmp_path / "older"
        shutil.copytree(files, older)
        await _items_ended(client, job.job_id, 60)
        assert mesh.redis.service.pid is not None
        os.kill(mesh.redis.service.pid, signal.SIGKILL)
        await mesh.redis.service.wait()
        shutil.rmtree(files)
        older.rename(files)
        await mesh.redis.service.bring_up()
        end = await client.wait(job.job_id, WAIT_SECONDS)
        assert (end.status, end.items_succeeded) == ("completed", 160)
        assert (mesh.router.pid, mesh.worker.pid) == pids, "a process has ended"
        expected = {job.job_id, ended.job_id}
        await assert_invariants(any_broker.bootstrap, mesh.settings.topic_prefix, expect_jobs=expected)


@pytest.mark.parametrize("is_settled", [True, False])
async def test_a_damaged_state_is_filled_from_the_log(
    any_broker: AnyBroker, tmp_path: Path, *, is_settled: bool
) -> None:
    """What Redis has of a job is no state: once a fact, or a load, meets it, Redis is filled again; others go on."""
    async with (
        _mesh(any_broker, tmp_path) as mesh,
        Client(any_broker.bootstrap, mesh.settings.topic_prefix) as client,
        Redis.from_url(mesh.redis.url) as redis,
    ):
        damaged = await client.submit(_sleeping(10 if is_settled else 160))
        if is_settled:
            await client.wait(damaged.job_id, WAIT_SECONDS)
        keys = PartitionKeys(
            mesh.settings.topic(JOBS_HISTORY), partition_of(damaged.job_id, mesh.settings.partition_count)
        )

        damage = "z1 7 ?"

        async def is_there() -> bool:
            state: Any = await redis.hget(keys.states, damaged.job_id)
            return state is not None and len(state) > len(damage) and state.startswith(b"z1 ") == is_settled

        await wait_until(is_there, description="Redis has the state")
        if is_settled:
            await redis.hset(keys.states, damaged.job_id, damage)
            pid = mesh.router.pid
            await client.cancel(damaged.job_id, "late")
        else:
            await mesh.router.shut_down()
            await redis.hset(keys.states, damaged.job_id, damage)
            await mesh.router.bring_up()
            pid = mesh.router.pid
        end = await client.wait(damaged.job_id, WAIT_SECONDS)
        assert end.status == "completed"
        if is_settled:
            await wait_until(is_there, description="Redis has the state again")
        other = await client.submit(_sleeping(10))
        assert (await client.wait(other.job_id, WAIT_SECONDS)).status == "completed"
        assert mesh.router.pid == pid, "the router has ended"
        expected = {damaged.job_id, other.job_id}
        await assert_invariants(any_broker.bootstrap, mesh.settings.topic_prefix, expect_jobs=expected)


async def test_every_task_delivered_twice(embedded_broker: str, tmp_path: Path) -> None:
    """Each chunk's task is sent again while it waits or runs: no item is run twice."""
    broker = AnyBroker(embedded_broker, "embedded")
    work = tmp_path / "work"
    async with _mesh(broker, tmp_path) as mesh, Client(broker.bootstrap, mesh.settings.topic_prefix) as client:
        settings = mesh.settings
        items = [{"path": str(work), "name": str(index), "seconds": 0.05} for index in range(60)]
        job = await client.submit(
            JobSubmit.model_validate(
                {"workload": "python", "items": items, "options": {"function": "tests.faults.recorded_work:record"}}
            )
        )
        celery = CeleryDispatcher(settings)
        async with Redis.from_url(mesh.redis.url, decode_responses=True) as redis:
            topic = settings.topic(JOBS_HISTORY)

            async def current() -> list[ChunkTask]:
                return [
                    ChunkTask(
                        topic=topic,
                        partition=partition,
                        chunk=chunk,
                        dispatched_at=0,
                        attempt=1,
                        traceparent=f"00-{'1' * 32}-{'2' * 16}-01",
                    )
                    for partition in range(settings.partition_count)
                    for chunk in await _text(redis.hkeys(PartitionKeys(topic, partition).current))
                ]

            tasks = await wait_until(current, description="the job's chunks are planned")
            await celery.dispatch(tasks, queue="batch_tasks", priority=0)
            await celery.dispatch(tasks, queue="batch_tasks", priority=6)
        end = await client.wait(job.job_id, WAIT_SECONDS)
        await celery.close()
        assert (end.status, end.items_succeeded) == ("completed", 60)
        assert sorted(recorded(work), key=int) == [str(index) for index in range(60)]
        assert {ChunkId.parse(task.chunk).job_id for task in tasks} == {job.job_id}
        await assert_invariants(broker.bootstrap, settings.topic_prefix, expect_jobs={job.job_id})


async def test_restart_over_five_unfinished_jobs_runs_exactly_what_is_missing(
    embedded_broker: str, tmp_path: Path
) -> None:
    """Router and worker are killed over five unfinished jobs: what was in is not run again, all else is."""
    broker = AnyBroker(embedded_broker, "embedded")
    async with _mesh(broker, tmp_path) as mesh, Client(broker.bootstrap, mesh.settings.topic_prefix) as client:
        jobs: dict[str, Path] = {}
        for number in range(5):
            work = tmp_path / f"work-{number}"
            items = [{"path": str(work), "name": str(index), "seconds": 0.05} for index in range(FIVE_JOBS_ITEMS)]
            submit = {
                "workload": "python",
                "items": items,
                "options": {"function": "tests.faults.recorded_work:record"},
            }
            jobs[(await client.submit(JobSubmit.model_validate(submit))).job_id] = work
        await _items_ended(client, next(iter(jobs)), 10)
        for service in (mesh.worker, mesh.router):
            assert service.pid is not None
            os.kill(service.pid, signal.SIGKILL)
            await service.wait()
        known = await _known_items(mesh.settings)
        assert any(known[job_id] for job_id in jobs), "no job had begun"
        assert all(len(known[job_id]) < FIVE_JOBS_ITEMS for job_id in jobs), "some job was done"
        before = {job_id: len(recorded(work)) for job_id, work in jobs.items()}
        await mesh.router.bring_up()
        await mesh.worker.bring_up()
        for job_id, work in jobs.items():
            end = await client.wait(job_id, WAIT_SECONDS)
            assert (end.status, end.items_succeeded) == ("completed", FIVE_JOBS_ITEMS)
            again = [int(name) for name in recorded(work)[before[job_id] :]]
            assert sorted(again) == sorted(set(range(FIVE_JOBS_ITEMS)) - known[job_id])
        await assert_invariants(broker.bootstrap, mesh.settings.topic_prefix, expect_jobs=set(jobs))


async def _known_items(settings: Settings) -> dict[str, set[int]]:
    """The items whose results stand in the history, by job."""
    known: defaultdict[str, set[int]] = defaultdict(set)
    for record in await read_topic(settings, JOBS_HISTORY):
        if ("ce_type", ItemsCompleted.fact_type.encode()) in record.headers:
            results = ItemsCompleted.model_validate_json(record.value).results
            known[record.key.decode()] |= {result.item_index for result in results}
    return known


@pytest.mark.slow
async def test_restart_over_ended_jobs_does_nothing(embedded_broker: str, tmp_path: Path) -> None:
    """A router starts over hundreds of ended jobs, which it has to load: no public record, no dispatch."""
    broker = AnyBroker(embedded_broker, "embedded")
    async with _mesh(broker, tmp_path) as mesh, Client(broker.bootstrap, mesh.settings.topic_prefix) as client:
        settings = mesh.settings
        one = JobSubmit(workload="python", items=[4.0], options={"function": "math:sqrt"})
        jobs: list[SubmittedJob] = []
        while len(jobs) < ENDED_JOBS:  # a few at once: each has only so long until the broker has it
            jobs += await asyncio.gather(*(client.submit(one) for _ in range(min(_AT_ONCE, ENDED_JOBS - len(jobs)))))
        for job in jobs:
            assert (await client.wait(job.job_id, WAIT_SECONDS)).status == "completed"
        await wait_until(lambda: _all_marked(settings), description="every end is marked in the history")
        before = [await end_offsets(settings, topic) for topic in (JOBS_HISTORY, JOBS_PROGRESS, JOBS_DONE, JOBS_DEAD)]
        assert mesh.router.pid is not None
        os.kill(mesh.router.pid, signal.SIGKILL)
        await mesh.router.wait()
        await mesh.worker.shut_down()
        await mesh.router.bring_up()
        sentinels = [JobSubmit(workload="python", items=[4.0], options={"function": "math:sqrt"}) for _ in range(30)]
        accepted = [await client.submit(sentinel) for sentinel in sentinels]
        routed = {job.job_id for job in accepted}
        await wait_until(lambda: _routed(settings, routed), description="the new router acts on every partition")
        after = [await end_offsets(settings, topic) for topic in (JOBS_PROGRESS, JOBS_DONE, JOBS_DEAD)]
        assert after == before[1:]
        # The fact that routes a job is there before its task.
        queued = await wait_until(lambda: _queued_jobs(mesh.redis.url), description="the new router dispatches")
        assert queued <= routed
        added = [
            record
            for record in await read_topic(settings, JOBS_HISTORY)
            if record.offset >= before[0][record.partition] and record.key.decode() not in routed
        ]
        assert not added


async def _queued_jobs(redis_url: str) -> set[str]:
    """The jobs whose chunks wait in Celery's queues, read as Celery wrote them."""
    jobs: set[str] = set()
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        async for key in redis.scan_iter(match="*celery:batch_tasks*"):
            for message in await _text(redis.lrange(key, 0, -1)):
                _, arguments, _ = json.loads(base64.b64decode(json.loads(message)["body"]))
                jobs.add(ChunkId.parse(arguments["chunk"]).job_id)
    return jobs


async def _text(reply: Any) -> list[str]:
    return list(await reply)


async def _all_marked(settings: Settings) -> bool:
    types = Counter(dict(record.headers)["ce_type"] for record in await read_topic(settings, JOBS_HISTORY))
    return types[JobEnded.fact_type.encode()] == types[JobAccepted.fact_type.encode()]


async def _routed(settings: Settings, jobs: set[str]) -> bool:
    routed = {
        record.key.decode()
        for record in await read_topic(settings, JOBS_HISTORY)
        if ("ce_type", JobRouted.fact_type.encode()) in record.headers
    }
    return jobs <= routed
