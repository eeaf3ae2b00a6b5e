"""A mesh for a project that has packages of the mesh's own names, on a data directory with an odd name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from eldermesh.launch import python_command
from tests.integration.installed.conftest import DATA_DIR, PROJECT, Installed
from tests.mesh import MESH

LARGE = 40_000
_SECONDS = 300.0


@pytest.fixture(scope="module")
def environment(shell_variables: dict[str, str]) -> dict[str, str]:
    """All of this process' environment, and what the user's shell has."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MESH_", "OTEL_"))}
    return inherited | shell_variables


def _results(complete: Installed, *arguments: str) -> list[dict[str, Any]]:
    job_id = complete.answer("submit", "python", *arguments, "--wait")["job_id"]
    lines = complete.mesh("results", job_id).stdout.splitlines()
    assert complete.answer("trace", job_id)["spans"]
    return [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("engine", ["celery", "ray"])
def test_users_modules_are_the_functions_alone(complete: Installed, engine: str) -> None:
    """Services, Celery's workers and children, Ray's driver, node and actors run; the function has its own `shared`."""
    results = _results(complete, "--function", "userwork:whose", "--engine", engine, "1", "2")
    assert [result["output"] for result in results] == [["shared of the user", "services of the user"]] * 2


@pytest.mark.slow
@pytest.mark.usefixtures("running")
def test_a_large_result_lies_below_the_data_directory(complete: Installed) -> None:
    """Where its URL says; beside the data directory lies nothing."""
    (result,) = _results(complete, "--function", "userwork:large", str(LARGE))
    with urlopen(result["output_url"]) as file:  # noqa: S310 - a file of this test
        assert len(file.read()) == LARGE + len('""')
    state = complete.data_dir.parent
    assert [path.name for path in state.iterdir()] == [DATA_DIR]
    assert (state / DATA_DIR).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("arguments", [("version",), ("schema",), ("--help",)])
def test_the_command_itself(project: Path, environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    """Typed in the project's directory, which `python -m` would put first, with `PYTHONPATH` next."""
    ran = subprocess.run(
        [*MESH, *arguments], cwd=project, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
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
    root = str(PROJECT)
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
