"""The data directory is full while jobs run: nothing is given up, and what waited goes on once there is room."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from eldermesh.client import Client
from eldermesh.contract.commands import JobSubmit
from eldermesh_cli.stack.control import request
from eldermesh_cli.stack.processes.child import OwnedProcess
from eldermesh_cli.stack.runtime_file import Runtime, live_runtime
from tests.mesh import MESH, READY_SECONDS, mesh_environment
from tests.public_topics import assert_invariants
from tests.waiting import wait_until

FULL_SECONDS = float(os.environ.get("MESH_TEST_AWAY_SECONDS", "15"))
"""How long there is no room."""

RECOVERED_SECONDS = 15.0
WAIT_SECONDS = 300.0
SIZE = "192m"
LARGE_ITEM = "x" * 40_000
"""Above what a result may hold, so it goes to the blob store."""

LARGE_LATER = "tests.integration.item_functions:large_when_told"
"""Its result comes when there is no room for it: Redis, which refuses by then, lets no other item begin."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; only root may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@asynccontextmanager
async def mesh_on(data_dir: Path, log_dir: Path) -> AsyncIterator[tuple[Runtime, OwnedProcess]]:
    """A whole mesh."""
    log = log_dir / "up.log"
    process = OwnedProcess(
        [*MESH, "up"],
        log_path=log,
        env=mesh_environment(data_dir, python_functions=f"math:*,time:sleep,builtins:str,{LARGE_LATER}"),
    )
    process.start()

    def ready() -> Runtime | None:
        assert process.poll() is None, log.read_text("utf-8")
        return live_runtime(data_dir)

    try:
        yield await wait_until(ready, description="the mesh is ready", timeout_seconds=READY_SECONDS), process
    finally:
        await process.stop(60.0)


@contextmanager
def filled(place: Path) -> Iterator[Path]:
    """The file system has no byte left; what others give back is taken again by `fill`."""
    ballast = place / "ballast"
    fill(ballast)
    try:
        yield ballast
    finally:
        ballast.unlink()


def fill(ballast: Path) -> None:
    """Take what is left, to the last byte."""
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC, error  # noqa: PT017 - what is asserted is that the disk is full


def submit(function: str, items: list[Any], **fields: Any) -> JobSubmit:
    """A job of a Python function."""
    return JobSubmit.model_validate({"workload": "python", "items": items, "options": {"function": function}, **fields})


async def test_jobs_outlive_a_full_data_directory(small_disk: Path, tmp_path: Path) -> None:
    """Redis' file, blobs, logs, spans and what the sages know lie there; jobs run, and one has large results.

    Neither supervisor nor broker ends; all jobs end once there is room, and a new one within 15 seconds.
    """
    data_dir = small_disk / "data"
    async with mesh_on(data_dir, tmp_path) as (runtime, up), AsyncExitStack() as held:
        broker = {each.name: each.pid for each in runtime.processes}["broker"]
        async with Client(runtime.kafka_bootstrap, runtime.topic_prefix) as client:
            loop = asyncio.get_running_loop()
            began = loop.time()
            early = await client.submit(submit("math:sqrt", [4.0]))
            assert (await client.wait(early.job_id, WAIT_SECONDS)).status == "completed"
            usual_seconds = loop.time() - began
            first = await client.submit(submit("time:sleep", [0.1] * 60))
            async for progress in client.progress(first.job_id):
                if progress.items_ended >= 10:
                    break
            signals = tmp_path / "signals"
            signals.mkdir()
            os.mkfifo(signals / "go")
            later = await client.submit(submit(LARGE_LATER, [str(signals)], item_timeout_seconds=WAIT_SECONDS))
            await wait_until((signals / "runs").exists, description="an item with a large result runs")
            with filled(small_disk) as ballast:
                # For writing, too: so it never waits. The item may run again, and goes on as long as this is open.
                held.callback(os.close, os.open(signals / "go", os.O_RDWR))
                until = loop.time() + FULL_SECONDS
                large = await client.submit(submit("builtins:str", [LARGE_ITEM] * 4))
                second = await client.submit(submit("time:sleep", [0.1] * 20))

                async def long_enough() -> bool:
                    assert up.poll() is None, (tmp_path / "up.log").read_text("utf-8")
                    await asyncio.to_thread(fill, ballast)
                    return loop.time() > until

                await wait_until(
                    long_enough,
                    description="it was full for long enough",
                    timeout_seconds=FULL_SECONDS + 60.0,
                    interval_seconds=0.5,
                )
            async with asyncio.timeout(RECOVERED_SECONDS + 2 * usual_seconds):
                third = await client.submit(submit("math:sqrt", [4.0]))
                assert (await client.wait(third.job_id, WAIT_SECONDS)).status == "completed"
            jobs = (first, large, second, later)
            ends = [await client.wait(job.job_id, WAIT_SECONDS) for job in jobs]
            assert [(end.status, end.items_succeeded) for end in ends] == [
                ("completed", 60),
                ("completed", 4),
                ("completed", 20),
                ("completed", 1),
            ]
            expected = {early.job_id, third.job_id, *(job.job_id for job in jobs)}
            await assert_invariants(runtime.kafka_bootstrap, runtime.topic_prefix, expect_jobs=expected)
        told = await request(data_dir, "ps")
        pids = {each["name"]: each["pid"] for each in told["processes"]}
        assert pids["broker"] == broker
        assert up.poll() is None
