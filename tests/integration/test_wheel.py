"""The wheel, installed into environments of their own: bare, and with what a machine needs that runs the mesh."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

PROJECT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")

SUBMIT_PROGRAM = """
import asyncio, os, eldermesh

async def main():
    async with eldermesh.Client(os.environ["MESH_KAFKA_BOOTSTRAP"]) as client:
        job = await client.submit(workload="python", items=[16, 25], options={"function": "math:sqrt"})
        end = await client.wait(job.job_id, 60.0)
        print(end.status, [result.output async for result in client.results(job.job_id)])

asyncio.run(main())
"""

pytestmark = pytest.mark.slow


def run(command: Sequence[str | Path], *, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that knows nothing of this checkout, its environment or any mesh."""
    foreign = ("MESH_", "OTEL_", "PYTHON", "VIRTUAL_ENV", "COVERAGE_", "COV_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env | {"UV_SYSTEM_CERTS": "1"} | variables,
        capture_output=True,
        text=True,
        timeout=200.0,
        check=False,
    )


def succeed(command: Sequence[str | Path], *, cwd: Path) -> str:
    """Run a command that has to end with status 0; return its output."""
    ended = run(command, cwd=cwd)
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment with the wheel in it, a data directory, and a working directory.

    There the user has packages of their own with the names of ours, which must never be imported by mistake.
    """

    root: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.root / "venv" / "bin" / "python"

    def mesh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its `mesh`."""
        command: list[str | Path] = [self.root / "venv" / "bin" / "mesh", *arguments]
        return run(command, cwd=self.root, MESH_DATA_DIR=str(self.root / "data"))

    def answer(self, *arguments: str) -> dict[str, Any]:
        """The answer of `mesh … --json`, which has to succeed and say nothing else."""
        ended = self.mesh(*arguments, "--json")
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        answer: dict[str, Any] = json.loads(ended.stdout)
        return answer

    def error(self, status: int, *arguments: str) -> dict[str, Any]:
        """The error of `mesh … --json`, which has to fail with this status and answer nothing."""
        ended = self.mesh(*arguments, "--json")
        assert (ended.returncode, ended.stdout) == (status, ""), ended
        error: dict[str, Any] = json.loads(ended.stderr)["error"]
        return error

    def program(self, text: str, **variables: str) -> str:
        """Run a program with its interpreter, the user's own packages first on `sys.path`; return what it printed."""
        ended = run([self.python, "-c", text], cwd=self.root, PYTHONPATH=str(self.root), **variables)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network: the build backend is in the lock."""
    out = tmp_path_factory.mktemp("wheel")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    succeed([*pip, "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", out, PROJECT], cwd=out)
    (built,) = out.iterdir()
    return built


def installed(root: Path, requirement: str) -> Installed:
    """A fresh environment with the wheel, and of the rest the versions of the lock."""
    for name in ("shared", "services"):
        (root / name).mkdir()
        text = f"raise RuntimeError('the own package {name} of the user was imported')\n"
        (root / name / "__init__.py").write_text(text, encoding="utf-8")
    succeed([UV, "venv", "--quiet", "--python", sys.executable, root / "venv"], cwd=root)
    environment = Installed(root)
    install: list[str | Path] = [UV, "pip", "install", "--quiet", "--python", environment.python]
    succeed([*install, "--constraints", PROJECT / "requirements.lock", requirement], cwd=root)
    return environment


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """`pip install eldermesh`."""
    return installed(tmp_path_factory.mktemp("bare"), str(wheel))


@pytest.fixture(scope="module")
def complete(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """`pip install 'eldermesh[run]'`."""
    return installed(tmp_path_factory.mktemp("complete"), f"{wheel}[run]")


@pytest.fixture
def running(complete: Installed) -> Iterator[dict[str, str]]:
    """A mesh of the complete environment, in the background; how to reach it, as variables."""
    up = complete.answer("up", "--detach")
    assert up["ready"]
    try:
        yield complete.answer("env")
    finally:
        down = complete.answer("down")
    started = [process for process in up["processes"] if process["state"] == "running"]  # Ray waits for its first job
    assert (down["stopped_processes"], down["killed_processes"]) == (len(started), 0)


def test_what_the_wheel_holds(wheel: Path) -> None:
    """The four packages with their data files, the licence, and nothing else of the checkout."""
    with ZipFile(wheel) as archive:
        held = archive.namelist()
    tops = {name.split("/")[0] for name in held}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "eldermesh",
        "eldermesh_cli",
        "services",
        "shared",
    }
    sources = {
        path.relative_to(PROJECT).as_posix()
        for package in ("eldermesh", "eldermesh_cli", "services", "shared")
        for path in (PROJECT / package).rglob("*")
        if path.suffix in {".py", ".lua", ".typed"} and "__pycache__" not in path.parts
    }
    assert sources <= set(held)
    assert not [name for name in held if "__pycache__" in name or "test" in name.split("/")[-1]]
    assert [name for name in held if name.endswith("licenses/LICENSE")]


def test_bare_it_has_the_command_and_the_client(bare: Installed) -> None:
    """`mesh --help`, `mesh version`, the client; and nothing that only runs a mesh."""
    told = bare.mesh("--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert "submit" in told.stdout
    assert bare.answer("version")["contract_version"] == 1
    assert bare.program("import eldermesh; print(eldermesh.Client.__name__)") == "Client"
    extras = ("celery", "faststream", "psutil", "starlette", "uvicorn")
    find = f"from importlib.util import find_spec; print([name for name in {extras} if find_spec(name)])"
    assert bare.program(find) == "[]"


@pytest.mark.parametrize("options", [(), ("--detach",)], ids=["foreground", "background"])
def test_bare_it_names_the_extra_that_runs_a_mesh(bare: Installed, options: tuple[str, ...]) -> None:
    """`mesh up` exits 3, says what to install, and leaves no data directory behind."""
    error = bare.error(3, "up", *options)
    assert "eldermesh[run]" in f"{error['message']} {error['hint']}"
    told = bare.mesh("up", *options)
    assert (told.returncode, told.stdout) == (3, "")
    assert "eldermesh[run]" in told.stderr
    assert "Traceback" not in told.stderr
    assert not (bare.root / "data").exists()


def test_a_users_own_packages_do_not_break_the_client(bare: Installed) -> None:
    """`shared` and `services` of the user, first on `sys.path`: the client imports neither."""
    text = "import sys, eldermesh.client, eldermesh.contract.commands; eldermesh.Client, eldermesh.JobSubmit; "
    text += "print(sorted({'shared', 'services'} & set(sys.modules)))"
    assert bare.program(text) == "[]"


def test_complete_it_runs_a_mesh(bare: Installed, complete: Installed, running: dict[str, str]) -> None:
    """Up, a job by the command, jobs by both environments' clients among a user's own packages; `down` stops all."""
    end = complete.answer("submit", "python", "--function", "math:sqrt", "4", "9", "--wait")
    assert (end["status"], end["items_succeeded"]) == ("completed", 2)
    trace = complete.answer("trace", end["job_id"])
    assert trace["trace_id"] == end["trace_id"]
    for environment in (complete, bare):
        told = environment.program(SUBMIT_PROGRAM, **running)
        assert told == "completed [4, 5]"
    asked = run([bare.root / "venv" / "bin" / "mesh", "status", end["job_id"], "--json"], cwd=bare.root, **running)
    assert (asked.returncode, json.loads(asked.stdout)["state"]) == (0, "completed"), asked
