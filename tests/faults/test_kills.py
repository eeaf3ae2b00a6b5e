"""`kill -9` of each part during a job, on both brokers: the job ends once, each item counts once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil

from eldermesh.client import Client
from eldermesh.contract.commands import JobSubmit
from eldermesh_cli.stack.service import Service
from tests.fresh_topics import AnyBroker
from tests.mesh_services import MeshServices, mesh_services
from tests.public_topics import assert_invariants
from tests.waiting import wait_until

ITEMS = 300
WAIT_SECONDS = 300.0
ITEM_HOST = "item_host"


def _kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def _descendants(service: Service) -> list[psutil.Process]:
    assert service.pid is not None
    return psutil.Process(service.pid).children(recursive=True)


def _is_item_host(process: psutil.Process) -> bool:
    try:
        return any(ITEM_HOST in argument for argument in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def _pool_child(mesh: MeshServices) -> int | None:
    """A process of the worker's pool that runs items: the parent of an item host."""
    for process in _descendants(mesh.worker):
        if _is_item_host(process):
            return process.ppid()
    return None


async def _kill_and_start(service: Service) -> None:
    _kill(service.pid)
    await service.wait()
    await service.bring_up()


async def test_every_part_killed_once(any_broker: AnyBroker, tmp_path: Path) -> None:
    """The router, a worker's child, its item host and the worker die in turn while 300 items run; nothing is lost."""
    bootstrap, profile = any_broker
    async with (
        mesh_services(
            bootstrap,
            profile,
            tmp_path,
            python_functions="time:sleep",
            lease_seconds=5.0,
            heartbeat_seconds=0.5,
            chunk_items=15,
            group_session_seconds=6.0 if profile == "kafka" else None,
        ) as mesh,
        Client(bootstrap, mesh.settings.topic_prefix) as client,
    ):
        job = JobSubmit(workload="python", items=[0.05] * ITEMS, options={"function": "time:sleep"})
        submitted = await client.submit(job)
        items_ended = 0
        faults: Iterator[Callable[[], Awaitable[None]]] = iter(
            [
                lambda: _kill_and_start(mesh.router),
                lambda: _kill_child(mesh),
                lambda: _kill_item_host(mesh),
                lambda: _kill_and_start(mesh.worker),
            ]
        )
        next_fault_at = ITEMS // 10
        async for progress in client.progress(submitted.job_id):
            items_ended = progress.items_ended
            if items_ended >= next_fault_at and (fault := next(faults, None)) is not None:
                await fault()
                next_fault_at = items_ended + ITEMS // 6
        assert next(faults, None) is None, "the job was over before every part had been killed"
        end = await client.wait(submitted.job_id, WAIT_SECONDS)
        assert (end.status, end.items_succeeded, items_ended) == ("completed", ITEMS, ITEMS)
        await assert_invariants(bootstrap, mesh.settings.topic_prefix, expect_jobs={submitted.job_id})
        audit = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "eldermesh_cli.main", "audit", "--json"),
            env={**os.environ, **mesh.settings.environment()},
            stdout=asyncio.subprocess.PIPE,
        )
        answer, _ = await audit.communicate()
        assert (audit.returncode, json.loads(answer)["items_counted"]) == (0, ITEMS)
        alive = {process.pid for process in _descendants(mesh.worker)}
        orphans = [each for each in psutil.process_iter() if _is_item_host_of(each, tmp_path) and each.pid not in alive]
        assert not orphans, "an item host outlived its worker"


async def _kill_child(mesh: MeshServices) -> None:
    _kill(await wait_until(lambda: _pool_child(mesh), description="a worker's child runs items"))


async def _kill_item_host(mesh: MeshServices) -> None:
    def host() -> int | None:
        return next((each.pid for each in _descendants(mesh.worker) if _is_item_host(each)), None)

    _kill(await wait_until(host, description="an item host runs"))


def _is_item_host_of(process: psutil.Process, data_dir: Path) -> bool:
    try:
        return _is_item_host(process) and process.environ().get("MESH_DATA_DIR") == str(data_dir)
    except psutil.Error:
        return False
