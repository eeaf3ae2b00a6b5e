"""The wheel, installed into environments of their own, and one mesh that runs from it for a user's project.

The project has packages of the mesh's own names, its data directory has an odd name, and its user sits behind a proxy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[3]
UV = Path(sys.executable).with_name("uv")
DATA_DIR = "my data #1, 50%"
NAMESAKES = ("typer", "rich", "redis", "aiokafka", "pydantic", "celery", "ray", "httpx", "structlog")
_SECONDS = 300.0


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
        timeout=_SECONDS,
        check=False,
    )


def succeed(command: Sequence[str | Path], *, cwd: Path) -> str:
    """Run a command that has to end with status 0; return its output."""
    ended = run(command, cwd=cwd)
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment with the wheel in it.

    `root` holds packages of a user with the names of ours, which must never be imported by mistake. `mesh` is typed in
    the directory `work`, in a shell with these variables.
    """

    root: Path
    work: Path
    variables: dict[str, str]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.root / "venv" / "bin" / "python"

    @property
    def data_dir(self) -> Path:
        """Where a mesh that it runs keeps its state."""
        return Path(self.variables["MESH_DATA_DIR"])

    def mesh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its `mesh`."""
        return run([self.root / "venv" / "bin" / "mesh", *arguments], cwd=self.work, **self.variables)

    def module(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its `mesh` as a module, which puts `work` first on `sys.path`."""
        return run([self.python, "-m", "eldermesh_cli.main", *arguments], cwd=self.work, **self.variables)

    def answer(self, *arguments: str) -> dict[str, Any]:
        """The answer of `mesh … --json`, which has to succeed and say nothing else."""
        return answer_of(self.mesh(*arguments, "--json"))

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


def answer_of(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a command with `--json` answered, which has to have succeeded and said nothing else."""
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory to work in: a package called `shared`, and modules called like libraries."""
    return _directory(tmp_path_factory.mktemp("project"), "shared")


@pytest.fixture(scope="package")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `PYTHONPATH` names, another directory: the same, `services`, and functions that need both packages."""
    library = _directory(tmp_path_factory.mktemp("library"), "services")
    (library / "userwork.py").write_text(
        "import services, shared\n"
        "def whose(item): return [shared.WHOSE, services.WHOSE]\n"
        "def large(count): return 'x' * count\n",
        "utf-8",
    )
    return library


def _directory(directory: Path, package: str) -> Path:
    (directory / package).mkdir()
    (directory / package / "__init__.py").write_text(f'WHOSE = "{package} of the user"\n', "utf-8")
    for name in NAMESAKES:
        (directory / f"{name}.py").write_text('raise RuntimeError("a module of the user was taken")\n', "utf-8")
    return directory


@pytest.fixture(scope="package")
def shell_variables(library: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of somebody who works on the project, behind a proxy."""
    return {
        "MESH_DATA_DIR": str(tmp_path_factory.mktemp("state") / DATA_DIR),
        "MESH_PYTHON_FUNCTIONS": "math:*,userwork:*",
        "MESH_SLOTS": "2",
        "PYTHONPATH": str(library),
        "all_proxy": "socks5://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }


@pytest.fixture(scope="package")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network: the build backend is in the lock."""
    out = tmp_path_factory.mktemp("wheel")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    succeed([*pip, "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", out, PROJECT], cwd=out)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="package")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """`pip install eldermesh`."""
    root = tmp_path_factory.mktemp("bare")
    _install(root, str(wheel))
    return Installed(root, root, {"MESH_DATA_DIR": str(root / "data")})


@pytest.fixture(scope="package")
def complete(
    wheel: Path, project: Path, shell_variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    """`pip install 'eldermesh[run]'`, of somebody who works on the project."""
    root = tmp_path_factory.mktemp("complete")
    _install(root, f"{wheel}[run]")
    return Installed(root, project, shell_variables)


def _install(root: Path, requirement: str) -> None:
    """Make a fresh environment with the wheel, and of the rest the versions of the lock."""
    for name in ("shared", "services"):
        (root / name).mkdir()
        text = f"raise RuntimeError('the own package {name} of the user was imported')\n"
        (root / name / "__init__.py").write_text(text, encoding="utf-8")
    succeed([UV, "venv", "--quiet", "--python", sys.executable, root / "venv"], cwd=root)
    install: list[str | Path] = [UV, "pip", "install", "--quiet", "--python", root / "venv" / "bin" / "python"]
    succeed([*install, "--constraints", PROJECT / "requirements.lock", requirement], cwd=root)


@pytest.fixture(scope="package")
def running(complete: Installed) -> Iterator[dict[str, str]]:
    """A mesh of the complete environment, in the background; how to reach it, as variables."""
    up = answer_of(complete.module("up", "--detach", "--json"))
    assert up["ready"]
    try:
        yield complete.answer("env")
    finally:
        down = complete.answer("down")
    started = [process for process in up["processes"] if process["state"] == "running"]
    # Ray waits for the first job that needs it.
    assert down["stopped_processes"] - len(started) in (0, 1)
    assert down["killed_processes"] == 0
