"""A whole mesh for a project that has packages of the mesh's own names, on a data directory with an odd name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from eldermesh.launch import python_command
from tests.mesh import MESH, mesh_environment

DATA_DIR = "my data #1, 50%"
NAMESAKES = ("typer", "rich", "redis", "aiokafka", "pydantic", "celery", "ray", "httpx", "structlog")
LARGE = 40_000
_SECONDS = 300.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory to work in: a package called `shared`, and modules called like libraries."""
    return _directory(tmp_path_factory.mktemp("project"), "shared")


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def environment(library: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of somebody who works on the project, behind a proxy."""
    data_dir = tmp_path_factory.mktemp("state") / DATA_DIR
    env = mesh_environment(data_dir, python_functions="userwork:*", slots="2")
    return env | {"PYTHONPATH": str(library), "all_proxy": "socks5://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def running(project: Path, environment: dict[str, str]) -> Iterator[None]:
    """The mesh, started in the project's directory."""
    up = _run(project, environment, "up", "--detach")
    assert up.returncode == 0, up.stderr
    yield
    down = _run(project, environment, "down")
    assert down.returncode == 0, down.stderr


def _run(project: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MESH, *arguments], cwd=project, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )


def _results(project: Path, environment: dict[str, str], *arguments: str) -> list[dict[str, Any]]:
    ended = _run(project, environment, "submit", "python", *arguments, "--wait", "--json")
    assert ended.returncode == 0, ended.stderr or ended.stdout
    job_id = json.loads(ended.stdout)["job_id"]
    lines = _run(project, environment, "results", job_id).stdout.splitlines()
    trace = _run(project, environment, "trace", job_id)
    assert trace.returncode == 0, trace.stderr
    return [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("engine", ["celery", "ray"])
def test_users_modules_are_the_functions_alone(project: Path, environment: dict[str, str], engine: str) -> None:
    """Services, Celery's workers and children, Ray's driver, node and actors run; the function has its own `shared`."""
    results = _results(project, environment, "--function", "userwork:whose", "--engine", engine, "1", "2")
    assert [result["output"] for result in results] == [["shared of the user", "services of the user"]] * 2


@pytest.mark.slow
@pytest.mark.usefixtures("running")
def test_a_large_result_lies_below_the_data_directory(project: Path, environment: dict[str, str]) -> None:
    """Where its URL says; beside the data directory lies nothing."""
    (result,) = _results(project, environment, "--function", "userwork:large", str(LARGE))
    with urlopen(result["output_url"]) as file:  # noqa: S310 - a file of this test
        assert len(file.read()) == LARGE + len('""')
    state = Path(environment["MESH_DATA_DIR"]).parent
    assert [path.name for path in state.iterdir()] == [DATA_DIR]
    assert (state / DATA_DIR).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("arguments", [("version",), ("schema",), ("--help",)])
def test_the_command_itself(project: Path, environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    """Typed in the project's directory, which `python -m` would put first, with `PYTHONPATH` next."""
    ran = _run(project, environment, *arguments)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    "module",
    [
        "services.router.engines.celery.worker",
        "services.router.engines.celery.flower",
        "services.router.engines.ray.node",
        "services.claude_exec.loopback",
        "eldermesh_cli.stack.telemetry.receiver",
        "eldermesh_cli.demo",
    ],
)
@pytest.mark.parametrize("isolated", [True, False], ids=["by mesh", "by hand"])
def test_modules_that_are_started(project: Path, environment: dict[str, str], module: str, *, isolated: bool) -> None:
    """By `mesh up`, or typed: all that they import is the mesh's own."""
    by_hand = (sys.executable, "-m", "eldermesh.launch", module)
    command = python_command(module) if isolated else by_hand
    ran = subprocess.run(
        [*command, "--help"], cwd=project, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "usage:" in ran.stdout


def test_what_is_found_by_pythonpath_alone_is_still_found(library: Path, environment: dict[str, str]) -> None:
    """A plug-in of the user: its modules come last, and are there; its processes get the path for users' code."""
    script = (
        "import os, sys, eldermesh.launch as launch; launch.own_modules_first(); launch.own_modules_first();"
        "import shared.settings, userwork; print('PYTHONPATH' in os.environ, launch.users_environment()['PYTHONPATH'],"
        " sys.path[-1])"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", script], env=environment, capture_output=True, text=True, timeout=180, check=True
    )
    assert ran.stdout.split() == ["False", str(library), str(library)]
    # A process that the first one starts has the path under another name only.
    handed_on = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    child = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env=handed_on | {"ELDERMESH_USERS_PYTHONPATH": str(library)},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert child.stdout == ran.stdout


def test_a_project_that_is_the_root_of_the_environment(environment: dict[str, str]) -> None:
    """As `python -m venv .` makes it: what lies there is the user's all the same."""
    script = (
        "import sys, eldermesh.launch as launch; launch.own_modules_first();"
        "print(launch.users_environment()['PYTHONPATH'], sys.path[-1])"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env=environment | {"PYTHONPATH": sys.prefix},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert ran.stdout.split() == [sys.prefix, sys.prefix]


def test_an_install_that_pythonpath_names(library: Path, environment: dict[str, str]) -> None:
    """It keeps that entry, so that what it starts finds it, too."""
    root = str(Path(__file__).resolve().parents[2])
    script = (
        "import os, sys, eldermesh.launch as launch; launch.own_modules_first(); import shared.settings;"
        "print(os.environ['PYTHONPATH'], launch.users_environment()['PYTHONPATH'])"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env=environment | {"PYTHONPATH": os.pathsep.join((str(library), root))},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert ran.stdout.split() == [root, f"{library}{os.pathsep}{root}"]
