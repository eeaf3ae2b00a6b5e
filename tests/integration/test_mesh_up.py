"""`mesh up` and its company as a person has them: in the foreground, in the background, stopped, killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from eldermesh_cli.answers.schemas import named_schema
from eldermesh_cli.stack.control import SOCKET_NAME
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from eldermesh_cli.stack.runtime_file import RUNTIME_NAME, live_runtime
from tests.integration.owned import wait_all_gone
from tests.mesh import MESH, READY_SECONDS, mesh_environment
from tests.waiting import wait_until

SERVICES = {"telemetry", "broker", "redis", "router", "worker", "claude", "claude_exec", "sages", "notifier"}
"""What runs once the mesh is ready."""

ON_DEMAND = {"ray"}
"""What waits for the first job that needs it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a command."""

    status: int
    stdout: str
    stderr: str

    def answer(self, schema_name: str) -> dict[str, Any]:
        """Its answer, which has to be what the contract says; and nothing else was said."""
        assert (self.status, self.stderr) == (0, ""), self
        answer: dict[str, Any] = json.loads(self.stdout)
        jsonschema.validate(answer, named_schema(schema_name))
        return answer

    def error(self, status: int) -> dict[str, Any]:
        """Its error, which has to be what the contract says, with this exit status; and no answer was given."""
        assert (self.status, self.stdout) == (status, ""), self
        error: dict[str, Any] = json.loads(self.stderr)
        jsonschema.validate(error, named_schema("mesh-error"))
        content: dict[str, Any] = error["error"]
        return content


class Place:
    """A data directory, and the commands that were started on it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.env = mesh_environment(data_dir)
        self._started: list[asyncio.subprocess.Process] = []

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start `mesh …`."""
        process = await asyncio.create_subprocess_exec(
            *MESH, *arguments, env=self.env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        self._started.append(process)
        return process

    async def run(self, *arguments: str) -> Ended:
        """Run `mesh …` to its end."""
        return await self.end(await self.start(*arguments))

    async def end(self, process: asyncio.subprocess.Process) -> Ended:
        """Wait for the end of a command."""
        async with asyncio.timeout(READY_SECONDS):
            stdout, stderr = await process.communicate()
        return Ended(process.returncode or 0, stdout.decode(), stderr.decode())

    def processes(self) -> list[ProcessIdentity]:
        """All processes of the mesh that runs: the supervisor's and all below it."""
        runtime = live_runtime(self.data_dir)
        assert runtime is not None
        return processes_below(runtime.supervisor.pid)

    def assert_nothing_left(self, processes: list[ProcessIdentity]) -> None:
        """None of these processes, no socket, no runtime file."""
        assert [process.pid for process in processes if process.is_alive()] == []
        assert not (self.data_dir / SOCKET_NAME).exists()
        assert not (self.data_dir / RUNTIME_NAME).exists()

    async def clean(self) -> None:
        """End what a failed test left."""
        runtime = live_runtime(self.data_dir)
        if runtime is not None:
            os.kill(runtime.supervisor.pid, signal.SIGKILL)
        for process in self._started:
            if process.returncode is None:
                process.kill()
                await process.communicate()


def processes_below(pid: int) -> list[ProcessIdentity]:
    """A process and all its descendants."""
    root = psutil.Process(pid)
    found = [ProcessIdentity.of(process.pid) for process in (root, *root.children(recursive=True))]
    return [identity for identity in found if identity is not None]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """A data directory whose path is longer than a unix address may be."""
    place = Place(tmp_path / ("long" * 30) / "data")
    yield place
    await place.clean()


async def ready_in_foreground(place: Place) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """Start `mesh up --json`, and return it with the answer it gives when it is ready."""
    process = await place.start("up", "--json")
    assert process.stdout is not None
    async with asyncio.timeout(READY_SECONDS):
        line = await process.stdout.readline()
    assert line, (await place.end(process)).stderr
    answer: dict[str, Any] = json.loads(line)
    jsonschema.validate(answer, named_schema("mesh-up"))
    return process, answer


@pytest.mark.slow
async def test_in_the_foreground_until_ctrl_c(place: Place) -> None:
    """`up` answers when it is ready, a job runs, a second `up` is a conflict; SIGINT ends it, status 0, no process."""
    up, answer = await ready_in_foreground(place)
    assert {process["name"] for process in answer["processes"]} == SERVICES | ON_DEMAND
    for process in answer["processes"]:
        state = "waiting" if process["name"] in ON_DEMAND else "running"
        assert (process["state"], process["rss_bytes"] > 0) == (state, state == "running")
    everything = place.processes()

    told = (await place.run("ps", "--json")).answer("mesh-ps")
    assert {(each["name"], each["pid"]) for each in told["processes"]} == {
        (each["name"], each["pid"]) for each in answer["processes"]
    }
    submitted = await place.run("submit", "python", "--function", "math:sqrt", "4", "9", "--wait", "--json")
    assert json.loads(submitted.stdout)["items_succeeded"] == 2, submitted
    second = (await place.run("up", "--json")).error(4)
    assert second["error_type"] == "conflict"
    assert f"process {up.pid}" in second["message"]
    assert (await place.run("up", "--detach", "--json")).error(4) == second

    up.send_signal(signal.SIGINT)
    ended = await place.end(up)
    assert (ended.status, ended.stderr) == (0, "")
    place.assert_nothing_left(everything)
    for verb in ("ps", "down", "env"):
        assert (await place.run(verb, "--json")).error(3)["error_type"] == "unavailable"


@pytest.mark.slow
async def test_in_the_background_until_down(place: Place) -> None:
    """`up --detach` returns once it is ready; `env` is enough for a client elsewhere; `down` leaves nothing."""
    answer = (await place.run("up", "--detach", "--json")).answer("mesh-up")
    assert {process["name"] for process in answer["processes"]} == SERVICES | ON_DEMAND
    everything = place.processes()
    runtime = live_runtime(place.data_dir)
    assert runtime is not None
    assert os.getsid(runtime.supervisor.pid) == runtime.supervisor.pid
    assert place.data_dir.stat().st_mode & 0o777 == 0o700

    env = json.loads((await place.run("env", "--json")).stdout)
    lines = (await place.run("env")).stdout.splitlines()
    assert dict(line.split("=", 1) for line in lines) == env
    elsewhere = Place(place.data_dir.with_name("elsewhere"))
    elsewhere.env |= env | {"MESH_DATA_DIR": str(elsewhere.data_dir)}
    submitted = await elsewhere.run("submit", "python", "--function", "math:sqrt", "16", "--wait", "--json")
    end = json.loads(submitted.stdout)
    assert (submitted.status, end["status"]) == (0, "completed")
    trace = json.loads((await elsewhere.run("trace", end["job_id"], "--json")).stdout)
    assert trace["trace_id"] == end["trace_id"]
    assert trace["spans"]

    logged = [json.loads(line) for line in (await place.run("logs", "--json", "-n", "5")).stdout.splitlines()]
    assert {line["name"] for line in logged} == SERVICES | {"supervisor"}
    router = (await place.run("logs", "router")).stdout.splitlines()
    assert "router started" in {json.loads(line)["event"] for line in router}
    supervisor = (await place.run("logs", "supervisor", "-n", "100")).stdout
    assert "The mesh is ready" in supervisor
    assert "MESH_KAFKA_BOOTSTRAP" not in supervisor  # which nobody has set
    assert (await place.run("logs", "nobody", "--json")).error(4)["error_type"] == "not_found"

    down = (await place.run("down", "--json")).answer("mesh-down")
    assert (down["stopped_processes"], down["killed_processes"]) == (len(SERVICES), 0)
    place.assert_nothing_left(everything)
    assert "router stopped" in (await place.run("logs", "router")).stdout


@pytest.mark.parametrize("options", [(), ("--detach",)], ids=["foreground", "background"])
async def test_ctrl_c_while_it_starts(place: Place, options: tuple[str, ...]) -> None:
    """Before it is ready, in both forms, nothing stays that was started."""
    up = await place.start("up", *options)
    await wait_until(lambda: len(processes_below(up.pid)) >= 4, description="some services have started")
    everything = processes_below(up.pid)
    up.send_signal(signal.SIGINT)
    ended = await place.end(up)
    place.assert_nothing_left(everything)
    told = ended.stderr if not options else (place.data_dir / "logs" / "supervisor.log").read_text("utf-8")
    assert re.search(r"mesh: stopped [1-6] services in", told), told


@pytest.mark.slow
async def test_a_second_ctrl_c_kills(place: Place) -> None:
    """A service that does not end (it is stopped) is not waited for any more, and counted as killed."""
    up = await place.start("up")
    await wait_until(
        lambda: live_runtime(place.data_dir) or up.returncode is not None,
        description="the mesh is ready",
        timeout_seconds=READY_SECONDS,
    )
    assert up.returncode is None, (await place.end(up)).stderr
    everything = place.processes()
    runtime = live_runtime(place.data_dir)
    assert runtime is not None
    pids = {process.name: process.pid for process in runtime.processes}
    os.kill(pids["redis"], signal.SIGSTOP)
    up.send_signal(signal.SIGINT)
    await wait_until(
        lambda: not psutil.pid_exists(pids["router"]) and not psutil.pid_exists(pids["worker"]),
        description="router and worker have ended, which end first",
        timeout_seconds=60.0,
    )
    up.send_signal(signal.SIGINT)
    ended = await place.end(up)
    assert ended.status == 0
    assert f"mesh: stopped {len(SERVICES)} services in" in ended.stderr
    assert "of them killed" in ended.stderr
    place.assert_nothing_left(everything)


@pytest.mark.slow
async def test_nothing_outlives_a_killed_supervisor(place: Place) -> None:
    """SIGKILL to the supervisor ends everything; the next `up` on that directory works, at the same addresses.

    Also in a shell that was told the addresses: the mesh does not send its telemetry to itself.
    """
    await ready_in_foreground(place)
    everything = place.processes()
    told = await place.run("env", "--json")
    place.env |= json.loads(told.stdout)
    os.kill(everything[0].pid, signal.SIGKILL)
    await wait_all_gone(everything)
    assert (await place.run("ps", "--json")).error(3)["error_type"] == "unavailable"
    (await place.run("up", "--detach", "--json")).answer("mesh-up")
    again = place.processes()
    assert (await place.run("env", "--json", "--data-dir", str(place.data_dir))).stdout == told.stdout
    (await place.run("down", "--json")).answer("mesh-down")
    place.assert_nothing_left(again)


@pytest.mark.slow
async def test_the_death_of_the_broker_names_the_lost_jobs(place: Place) -> None:
    """SIGKILL to the broker: the unfinished job and the number of ended ones are told; the new mesh runs jobs."""
    (await place.run("up", "--detach", "--json")).answer("mesh-up")
    ended = await place.run("submit", "python", "--function", "math:sqrt", "4", "--wait", "--json")
    assert ended.status == 0, ended
    sleeping = json.loads((await place.run("submit", "python", "--function", "time:sleep", "3600", "--json")).stdout)
    job_id = sleeping["job_id"]

    async def runs() -> bool:
        status = json.loads((await place.run("status", job_id, "--json")).stdout)
        return bool(status["state"] == "running")

    await wait_until(runs, description="the job runs")
    before = live_runtime(place.data_dir)
    assert before is not None
    pids = {process.name: process.pid for process in before.processes}
    os.kill(pids["broker"], signal.SIGKILL)

    def started_again() -> bool:
        runtime = live_runtime(place.data_dir)
        return runtime is not None and {p.name for p in runtime.processes if p.pid not in pids.values()} == SERVICES

    async def anew() -> bool:
        told = (await place.run("ps", "--json")).answer("mesh-ps")["processes"]
        return {p["name"] for p in told if p["state"] == "running" and p["pid"] not in pids.values()} == SERVICES

    # The command, which takes a second of a core, is asked once the file says so.
    await wait_until(started_again, description="all services have started again", timeout_seconds=READY_SECONDS)
    await wait_until(anew, description="all services are ready again", timeout_seconds=READY_SECONDS)
    told = (await place.run("logs", "supervisor", "-n", "100")).stdout
    assert "what it held is lost, so the whole mesh starts anew" in told
    assert f"lost with broker: job {job_id} (python, running, 0 of 1 item)" in told
    assert "lost with broker: the results of 1 job that had ended" in told
    assert (await place.run("status", job_id, "--json")).error(4)["error_type"] == "not_found"
    ended = await place.run("submit", "python", "--function", "math:sqrt", "4", "--wait", "--json")
    assert ended.status == 0, ended
    (await place.run("down", "--json")).answer("mesh-down")


async def test_a_service_that_cannot_start(place: Place, tmp_path: Path) -> None:
    """A broker that ends at once: status 3, the reason and the end of its log, in both forms; nothing stays."""
    broken = tmp_path / "broker"
    broken.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no storage today')\n", encoding="utf-8")
    broken.chmod(0o700)
    place.env["CALF_TANSU_BIN"] = str(broken)
    error = (await place.run("up", "--json")).error(3)
    assert error["error_type"] == "start_failed"
    assert "broker did not start: it exited with status 1" in error["message"]
    assert "no storage today" in error["message"]
    assert "mesh logs broker" in error["hint"]
    error = (await place.run("up", "--detach", "--json")).error(3)
    assert error["error_type"] == "start_failed"
    assert "broker did not start: it exited with status 1" in error["message"]
    assert "no storage today" in error["message"]
    place.assert_nothing_left([])


async def test_a_data_directory_that_cannot_be_used(place: Place, tmp_path: Path) -> None:
    """A file where the directory should be is said, with status 3."""
    taken = tmp_path / "taken"
    taken.write_text("mine", encoding="utf-8")
    for arguments in (("up", "--json"), ("up", "--detach", "--json")):
        error = (await place.run(*arguments, "--data-dir", str(taken))).error(3)
        assert f"the data directory {taken} cannot be used" in error["message"]
