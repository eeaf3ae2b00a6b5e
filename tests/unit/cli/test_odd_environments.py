"""The command where something of the environment is closed, full, gone or nonsense: never an error of mesh itself."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from eldermesh_cli.program.command_line import run
from tests.plain_permissions import plain_permissions
from tests.unit.cli.command_line import CommandLine

MESH = f"{sys.executable} -m eldermesh_cli.main"
LONG_NAME = "x" * 300


def _shell(line: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    env = others | {"MESH_DATA_DIR": str(directory / "data")} | variables
    return subprocess.run(
        ["/bin/bash", "-c", line], cwd=directory, env=env, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        (f"{MESH} version >&-", 3, "standard output takes nothing: it is closed"),
        (f"{MESH} version --json >/dev/full", 3, '"standard output takes nothing: No space left on device"'),
        (f"{MESH} version >/dev/full", 3, "standard output takes nothing: No space left on device"),
        (f"{MESH} --help >/dev/full", 3, "No space left on device"),
        (f"{MESH} schema job-submit | true; exit ${{PIPESTATUS[0]}}", 141, ""),
        (f"{MESH} --help | true; exit ${{PIPESTATUS[0]}}", 141, ""),
        (f"{MESH} version 2>&-", 0, ""),
        (f"{MESH} nosuch 2>/dev/full", 2, ""),
        (f"{MESH} ask - <&-", 2, "standard input cannot be read"),
        (f"mkdir gone; cd gone; rmdir ../gone; {MESH} index x", 2, "x leads nowhere"),
        (f"mkdir gone; cd gone; rmdir ../gone; MESH_DATA_DIR=here {MESH} ps", 3, "No such file or directory"),
        (f"mkdir gone; cd gone; rmdir ../gone; MESH_DATA_DIR=here {MESH} config", 2, "MESH_DATA_DIR is relative"),
        (f"mkdir gone; cd gone; rmdir ../gone; MESH_BLOB_URL=here {MESH} config", 2, "MESH_BLOB_URL: "),
    ],
)
def test_streams_and_places(line: str, status: int, says: str, tmp_path: Path) -> None:
    """The exit status is the contract's, and the message says what is wrong."""
    ran = _shell(line, tmp_path)
    assert ran.returncode == status, ran.stderr
    assert says in ran.stderr
    assert "error of mesh itself" not in ran.stderr


@pytest.mark.parametrize("form", ["", " --json"])
def test_errors_never_go_to_standard_output(form: str, tmp_path: Path) -> None:
    """Nor where nobody listens to standard error: what reads the output takes it for data."""
    ran = _shell(f"{MESH} status nosuch{form} 2>&-", tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")


@pytest.mark.parametrize(
    "variables",
    [{"COLUMNS": columns} for columns in ("0", "-1", "x", "99999999", "9" * 5000)]
    + [{"TERM": "no-such"}, {"TERM": ""}, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii:strict"}],
    ids=lambda variables: str(variables)[:40],
)
def test_variables_of_the_terminal(variables: Mapping[str, str], tmp_path: Path) -> None:
    """None of them matters for what is said, and none makes it long."""
    ran = _shell(f"{MESH} schema no-such-é; {MESH} --help | wc -c", tmp_path, **variables)
    assert "no-such-" in ran.stderr
    assert "error of mesh itself" not in ran.stderr
    assert 1_000 < int(ran.stdout) < 100_000


def _latin(path: Path) -> None:
    path.write_bytes(b"MESH_TOPIC_PREFIX=caf\xe9\n")


def _locked(path: Path) -> None:
    path.write_text("MESH_TOPIC_PREFIX=x\n", "ascii")
    path.chmod(0)


@pytest.mark.parametrize(("make", "says"), [(_latin, "it is not UTF-8"), (_locked, "Permission denied")])
def test_an_env_file_that_cannot_be_read(
    make: Callable[[Path], None], says: str, mesh: CommandLine, tmp_path: Path
) -> None:
    """It is named, with the reason."""
    make(tmp_path / ".env")
    with plain_permissions():
        ran = mesh("config", "--json")
    assert ran.status == 2
    assert ran.error()["message"] == f".env in the working directory cannot be read: {says}"


@pytest.mark.timeout(60)
def test_an_env_file_that_is_a_pipe(mesh: CommandLine, tmp_path: Path) -> None:
    """Nobody waits for it."""
    os.mkfifo(tmp_path / ".env")
    ran = mesh("config", "--json")
    assert ran.status == 2
    assert "a pipe, no regular file" in ran.error()["message"]


def test_a_directory_called_env_is_no_env_file(mesh: CommandLine, tmp_path: Path) -> None:
    """Many name a virtualenv so."""
    (tmp_path / ".env").mkdir()
    assert mesh("config", "--json").status == 0


def test_a_setting_that_has_to_be_json(mesh: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is none is a wrong setting."""
    monkeypatch.setenv("MESH_RAY_RESOURCES", "x")
    ran = mesh("config", "--json")
    assert ran.status == 2
    assert "ray_resources" in ran.error()["message"]


@pytest.mark.parametrize(
    "verb", [["list"], ["doctor"], ["config"], ["ps"], ["env"], ["up"], ["down"], ["audit"], ["topics", "apply"]]
)
def test_every_verb_says_it(verb: list[str], mesh: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the exit status of wrong usage, whether it needs that setting or not."""
    monkeypatch.setenv("MESH_KAFKA_BOOTSTRAP", "kafka:99999999")
    ran = mesh(*verb, "--json")
    assert ran.status == 2
    assert ran.error()["error_type"] == "configuration"
    assert "MESH_KAFKA_BOOTSTRAP: 'kafka:99999999'" in ran.error()["message"]


def test_an_address_on_the_command_line_is_checked(mesh: CommandLine) -> None:
    """As the same setting is."""
    ran = mesh("up", "--otlp-endpoint", "http://[::1", "--json")
    assert ran.status == 2
    assert "MESH_OTLP_ENDPOINT: " in ran.error()["message"]


@pytest.mark.parametrize("verb", ["ps", "env", "down", "logs", "up"])
@pytest.mark.parametrize(
    ("data_dir", "status"), [(LONG_NAME, 3), ("~no-such-user/x", 2), ("locked/x", 3), ("circle", 2)]
)
def test_a_data_directory_that_cannot_be_used(
    verb: str, data_dir: str, status: int, mesh: CommandLine, tmp_path: Path
) -> None:
    """Whichever verb looks there."""
    (tmp_path / "locked").mkdir(mode=0)
    (tmp_path / "circle").symlink_to("circle")
    with plain_permissions():
        ran = mesh(verb, "--data-dir", data_dir, "--json")
    assert ran.status == status
    assert "the data directory" in ran.error()["message"]


@pytest.mark.timeout(60)
def test_a_runtime_file_that_cannot_be_read(mesh: CommandLine, tmp_path: Path) -> None:
    """Of another user, say; or somebody has put a pipe there."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    os.mkfifo(data_dir / "runtime.json")
    ran = mesh("config", "--json")
    assert ran.status == 3
    assert "a pipe, no regular file" in ran.error()["message"]


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EROFS", "EIO", "EMFILE", "ENFILE", "ENOMEM"])
def test_a_machine_that_has_no_more(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files, memory, room: that is no error of mesh itself."""
    number = getattr(errno, name)

    def no_more(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/x\ny")

    monkeypatch.setattr("eldermesh_cli.program.command_line.get_command", no_more)
    assert run(["version"]) == 3
    assert rf"this machine refuses: {os.strerror(number)}: /x\ny" in capsys.readouterr().err
