"""A whole embedded stack as a process of its own: it is reached, stopped, killed, and never leaves a process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis

from eldermesh_cli.stack.control import SOCKET_NAME, request
from eldermesh_cli.stack.data_dir import DataDirLock
from eldermesh_cli.stack.errors import DataDirInUseError, NotRunningError, RequestRefusedError
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from eldermesh_cli.stack.runtime_file import Runtime, live_runtime, read_runtime
from eldermesh_cli.stack.servers.broker import kafka_answers
from tests.integration.owned import wait_all_gone
from tests.waiting import wait_until

READY_SECONDS = 300.0


class Up:
    """One `stack_program` that was started."""

    def __init__(self, data_dir: Path, process: asyncio.subprocess.Process) -> None:
        self.data_dir = data_dir
        self.process = process

    async def ready(self) -> Runtime:
        """Wait until it is, and return what its runtime file says."""
        assert self.process.stdout is not None
        async with asyncio.timeout(READY_SECONDS):
            line = await self.process.stdout.readline()
        assert line == f"ready {self.process.pid}\n".encode(), await self.errors()
        runtime = live_runtime(self.data_dir)
        assert runtime is not None
        return runtime

    def processes(self) -> list[ProcessIdentity]:
        """All processes of the stack: its own and all descendants."""
        program = psutil.Process(self.process.pid)
        found = [ProcessIdentity.of(process.pid) for process in (program, *program.children(recursive=True))]
        return [identity for identity in found if identity is not None]

    async def errors(self) -> str:
        """What it wrote on standard error, once it has ended."""
        assert self.process.stderr is not None
        async with asyncio.timeout(READY_SECONDS):
            return (await self.process.stderr.read()).decode()

    async def end(self) -> int:
        """Wait for its end."""
        async with asyncio.timeout(READY_SECONDS):
            return await self.process.wait()


class Stacks:
    """Starts stack programs on one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.started: list[Up] = []

    async def up(self, *options: str) -> Up:
        """Start one."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.integration.stack_program", str(self.data_dir), *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.started.append(Up(self.data_dir, process))
        return self.started[-1]


@pytest.fixture
async def stacks(tmp_path: Path) -> AsyncIterator[Stacks]:
    """Stacks on a data directory whose path is longer than a unix address may be."""
    stacks = Stacks(tmp_path / ("long" * 30) / "data")
    yield stacks
    for up in stacks.started:
        if up.process.returncode is None:
            up.process.kill()
            await up.process.wait()


async def test_a_stack_can_be_reached_and_stopped(stacks: Stacks) -> None:
    """Runtime file, broker, Redis and control socket work; `stop` returns when nothing is left, in little time."""
    up = await stacks.up("worker")
    runtime = await up.ready()
    await kafka_answers(runtime.kafka_bootstrap)
    async with Redis.from_url(runtime.redis_url) as client:
        assert await client.ping()
    answer = await request(stacks.data_dir, "ps")
    assert answer["ready"] is True
    reports = {report["name"]: report for report in answer["processes"]}
    assert list(reports) == ["broker", "redis", "worker", "tree"]
    assert {process.name: process.pid for process in runtime.processes} == {
        name: report["pid"] for name, report in reports.items()
    }
    assert {report["state"] for report in reports.values()} == {"running"}
    assert psutil.Process(reports["redis"]["pid"]).name() == "valkey-server"
    assert len(psutil.Process(reports["worker"]["pid"]).children()) == 2
    with pytest.raises(RequestRefusedError, match="no such request"):
        await request(stacks.data_dir, "dance")

    everything = up.processes()
    stopped = await request(stacks.data_dir, "stop", timeout_seconds=120.0)
    assert stopped["stopped_processes"] == 4
    assert stopped["killed_processes"] == 1  # the stubborn tree
    assert 0.5 <= stopped["stop_seconds"] < 15
    assert await up.end() == 0
    assert [identity for identity in everything if identity.is_alive()] == []
    assert read_runtime(stacks.data_dir) is None
    assert not (stacks.data_dir / SOCKET_NAME).exists()
    with pytest.raises(NotRunningError):
        await request(stacks.data_dir, "ps")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_a_stack_in_order(stacks: Stacks, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed terminal alike leave no process, and the exit status is 0."""
    up = await stacks.up()
    await up.ready()
    everything = up.processes()
    assert len(everything) == 1 + 2 * 3 + 3, everything  # the supervisor, leashes and services, the rest of the tree
    up.process.send_signal(number)
    assert await up.end() == 0
    assert [identity for identity in everything if identity.is_alive()] == []


async def test_a_signal_before_it_is_ready_stops_it_too(stacks: Stacks) -> None:
    """A stop during the start waits neither for readiness nor leaves what was started."""
    up = await stacks.up("worker")
    await wait_until(lambda: len(up.processes()) > 3, description="some services have started")
    everything = up.processes()
    up.process.send_signal(signal.SIGTERM)
    assert await up.end() == 0
    await wait_all_gone(everything)
    assert read_runtime(stacks.data_dir) is None


async def test_nothing_outlives_a_killed_supervisor(stacks: Stacks) -> None:
    """SIGKILL to the supervisor: broker, Redis, Celery worker and its children, and the stubborn tree are gone.

    The next stack on that directory starts at once, waiting for what is left of the first by itself.
    """
    up = await stacks.up("worker")
    first = await up.ready()
    everything = up.processes()
    up.process.kill()
    second = await stacks.up()
    await wait_all_gone(everything)
    assert first.is_alive() is False
    runtime = await second.ready()
    assert runtime.supervisor.pid == second.process.pid


async def test_two_stacks_on_one_data_directory_are_refused(stacks: Stacks) -> None:
    """The second says whose directory it is, with exit status 3, and the first goes on untouched."""
    up = await stacks.up()
    await up.ready()
    second = await stacks.up()
    assert await second.end() == 3
    assert f"process {up.process.pid} runs a mesh on {stacks.data_dir}" in await second.errors()
    assert (await request(stacks.data_dir, "ps"))["ready"] is True
    with pytest.raises(DataDirInUseError):
        await DataDirLock.acquire(stacks.data_dir)


async def test_a_service_that_dies_comes_back_with_what_it_kept(stacks: Stacks) -> None:
    """SIGKILL to Redis: it is back at the same address with its content; the other services keep their processes."""
    up = await stacks.up()
    runtime = await up.ready()
    pids = {process.name: process.pid for process in runtime.processes}
    async with Redis.from_url(runtime.redis_url) as client:
        await client.set("key", "value")
    os.kill(pids["redis"], signal.SIGKILL)

    def changed() -> Runtime | None:
        now = live_runtime(stacks.data_dir)
        return now if now and {p.pid for p in now.processes if p.name == "redis"} - {pids["redis"]} else None

    now = await wait_until(changed, description="the runtime file names another Redis process")
    async with Redis.from_url(now.redis_url) as client:
        assert await client.get("key") == b"value"
    assert {p.name: p.pid for p in now.processes if p.name != "redis"} == {
        name: pid for name, pid in pids.items() if name != "redis"
    }
    reports = (await request(stacks.data_dir, "ps"))["processes"]
    assert [report["restarts_total"] for report in reports] == [0, 1, 0]


async def test_the_death_of_the_broker_is_told_as_a_loss(stacks: Stacks) -> None:
    """The broker keeps everything in memory: when it dies all services get new processes, and the loss is told."""
    up = await stacks.up("worker")
    before = {process.name: process.pid for process in (await up.ready()).processes}
    os.kill(before["broker"], signal.SIGKILL)

    def anew() -> bool:
        now = live_runtime(stacks.data_dir)
        return now is not None and len(now.processes) == 4 and not {p.pid for p in now.processes} & {*before.values()}

    await wait_until(anew, description="all services have new processes")
    up.process.send_signal(signal.SIGTERM)
    assert await up.end() == 0
    errors = await up.errors()
    assert "mesh: broker was ended by SIGKILL: what it held is lost, so the whole mesh starts anew" in errors
    assert "mesh: lost with broker: everything that broker held" in errors
