"""The wheel, installed into environments of their own: bare, and with what a machine needs that runs the mesh."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.integration.installed.conftest import PROJECT, Installed, run

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
