"""The command line and the environment of a CLI, and the directory of its run."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from services.claude_exec.cli.command import BUNDLED_CLI, child_environment, cli_command
from services.claude_exec.cli.process import CliNotStartedError, CliProcess
from services.claude_exec.cli.run_directory import (
    NoRunDirectoryError,
    RunDirectory,
    remove_abandoned,
    run_directory,
    runs_path,
)
from services.claude_exec.options import ClaudeOptions
from shared.backoff.os_errors import PASSING
from shared.errors import ConfigurationError, RetryableError
from shared.http_client import is_loopback
from shared.settings import Settings
from tests.waiting import wait_until

_URL = "http://127.0.0.1:9"


def _settings(tmp_path: Path, **values: object) -> Settings:
    return Settings.model_validate({"data_dir": tmp_path, "anthropic_base_url": _URL} | values)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[RunDirectory]:
    """The directory of a run."""
    async with run_directory(_settings(tmp_path)) as made:
        yield made


def _value(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]


def test_the_prompt_and_long_texts_are_not_on_the_command_line(tmp_path: Path, place: RunDirectory) -> None:
    """A system prompt is a file of the run; the largest schema is one argument that the kernel takes."""
    options = ClaudeOptions.read({"system_prompt": "Be short. " * 1000, "output_schema": {"type": "object"}})
    command = cli_command(options, place, _settings(tmp_path))
    assert Path(_value(command, "--system-prompt-file")).read_text("utf-8") == "Be short. " * 1000
    assert json.loads(_value(command, "--json-schema")) == {"type": "object"}
    assert max(map(len, command)) < 200


@pytest.mark.parametrize(("dollars", "shown"), [(1e-9, "0.000001"), (5e-324, "0.000001"), (0.25, "0.250000")])
def test_a_budget_is_never_nothing(dollars: float, shown: str, tmp_path: Path, place: RunDirectory) -> None:
    """The CLI ends at once on a budget of 0, as if it were broken."""
    command = cli_command(ClaudeOptions.read({"max_cost_usd": dollars}), place, _settings(tmp_path))
    assert _value(command, "--max-budget-usd") == shown


def test_options_become_flags(tmp_path: Path, place: RunDirectory) -> None:
    """Only what was asked for; no tool and no settings file by default."""
    command = cli_command(ClaudeOptions(), place, _settings(tmp_path, claude_hidden_paths=()))
    assert command[0] == str(BUNDLED_CLI)
    assert os.access(BUNDLED_CLI, os.X_OK)
    assert _value(command, "--tools") == ""
    assert "--setting-sources=" in command
    assert not {"--model", "--allowedTools", "--max-turns", "--max-budget-usd", "--json-schema"} & set(command)
    assert "--disallowedTools" not in command
    asked = ClaudeOptions.read(
        {
            "model": "opus",
            "allowed_tools": ["Read", "Bash(ls:*)"],
            "disallowed_tools": ["Bash(rm:*)"],
            "max_turns": 2,
            "max_cost_usd": 0.25,
            "permission_mode": "dontAsk",
        }
    )
    settings = _settings(tmp_path, claude_cli="/opt/claude", claude_hidden_paths="/srv/keys")
    command = cli_command(asked, place, settings)
    assert command[0] == "/opt/claude"
    assert _value(command, "--model") == "opus"
    assert _value(command, "--tools") == "Read,Bash"
    assert _value(command, "--allowedTools") == "Read,Bash(ls:*)"
    assert _value(command, "--disallowedTools") == "Bash(rm:*),Read(//srv/keys),Read(//srv/keys/**)"
    assert _value(command, "--max-turns") == "2"
    assert _value(command, "--max-budget-usd") == "0.250000"
    assert _value(command, "--permission-mode") == "dontAsk"


def test_the_environment_is_built_from_an_allow_list(tmp_path: Path, place: RunDirectory) -> None:
    """Of the parent's variables only those of the list come through, and those that the settings name."""
    parent = {"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "s", "CLAUDECODE": "1", "HOME": "/root", "HTTPS_PROXY": "p"}
    environment = child_environment(parent, _settings(tmp_path), place, place.work, traceparent=None)
    assert environment["PATH"] == "/bin"
    assert environment["HOME"] == str(place.home)
    assert environment["CLAUDE_CONFIG_DIR"] == str(place.config)
    assert not {"AWS_SECRET_ACCESS_KEY", "CLAUDECODE", "HTTPS_PROXY"} & set(environment)
    assert not [name for name in environment if name.startswith(("OTEL_", "TRACE"))]
    named = _settings(tmp_path, claude_environment="HTTPS_PROXY, NOT_SET")
    assert child_environment(parent, named, place, place.work, traceparent=None)["HTTPS_PROXY"] == "p"


def test_telemetry_needs_an_endpoint_and_a_parent(tmp_path: Path, place: RunDirectory) -> None:
    """The CLI's spans lie below the span that it is given."""
    settings = _settings(tmp_path, otlp_endpoint="http://127.0.0.1:4318")
    assert "OTEL_TRACES_EXPORTER" not in child_environment({}, settings, place, place.work, traceparent=None)
    environment = child_environment({}, settings, place, place.work, traceparent="00-a-b-01", tracestate="x=y")
    assert (environment["TRACEPARENT"], environment["TRACESTATE"]) == ("00-a-b-01", "x=y")
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"


def test_tools_are_isolated_where_that_can_be(tmp_path: Path, place: RunDirectory) -> None:
    """By default where bubblewrap and socat are found on the CLI's own path."""

    def isolated(**values: object) -> str:
        environment = child_environment(
            {"PATH": str(tmp_path)}, _settings(tmp_path, **values), place, place.work, traceparent=None
        )
        return environment["CLAUDE_CODE_SUBPROCESS_ENV_SCRUB"]

    assert isolated() == "0"
    assert isolated(claude_isolate_tools=True) == "1"
    (tmp_path / "bwrap").touch(0o755)
    assert isolated() == "0"
    (tmp_path / "socat").touch(0o755)
    assert isolated() == "1"
    assert isolated(claude_isolate_tools=False) == "0"


def test_no_key_is_needed_on_loopback_alone(tmp_path: Path, place: RunDirectory) -> None:
    """Without a key nothing but this machine is asked; with one it goes where the settings say."""
    for url in (None, "https://api.example.org", "http://10.0.0.1"):
        with pytest.raises(ConfigurationError, match="MESH_ANTHROPIC_API_KEY"):
            child_environment({}, _settings(tmp_path, anthropic_base_url=url), place, place.work, traceparent=None)
    keyed = _settings(tmp_path, anthropic_base_url=None, anthropic_api_key=SecretStr("sk-x"))
    environment = child_environment({}, keyed, place, place.work, traceparent=None)
    assert environment["ANTHROPIC_API_KEY"] == "sk-x"
    assert "ANTHROPIC_BASE_URL" not in environment
    assert is_loopback("http://localhost:1")
    assert is_loopback("http://[::1]:1/x")
    assert not is_loopback("http://127.0.0.1.example.org")


async def test_a_run_has_a_directory_of_its_own_and_leaves_none(tmp_path: Path) -> None:
    """Private, and removed with what is in it, however the run ends."""
    settings = _settings(tmp_path)
    async with run_directory(settings) as first, run_directory(settings) as second:
        assert first.path != second.path
        assert all(part.is_dir() for part in (first.config, first.home, first.temporary, first.work))
        assert first.path.parent.stat().st_mode & 0o777 == 0o700
        (first.work / "deep" / "er").mkdir(parents=True)
        assert remove_abandoned(settings) == 0
    with pytest.raises(KeyError):
        async with run_directory(settings):
            raise KeyError
    assert list(runs_path(settings).iterdir()) == []


async def test_what_a_killed_worker_left_is_removed(tmp_path: Path) -> None:
    """A directory whose lock nobody holds belongs to nobody."""
    settings = _settings(tmp_path)
    parent = runs_path(settings)
    (parent / "dead" / "config").mkdir(parents=True)
    (parent / "dead.lock").touch()
    assert remove_abandoned(settings) == 1
    assert list(parent.iterdir()) == []


async def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """Where it would be the same at every attempt, that is said at once."""
    (tmp_path / "claude-runs").touch()
    with pytest.raises(NoRunDirectoryError, match="File exists"):
        async with run_directory(_settings(tmp_path)):
            raise AssertionError


@pytest.mark.parametrize("number", sorted({*PASSING, errno.EDQUOT}))
async def test_a_directory_that_cannot_be_made_now(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has run out for now is the machine's trouble, and no outcome of the prompt."""

    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(RetryableError, match="no directory"):
        async with run_directory(_settings(tmp_path)):
            raise AssertionError


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EAGAIN, errno.ENOMEM])
async def test_a_process_that_is_refused(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its errno: one that passes is for another try; any other is told at once, with its reason."""

    async def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refused)
    expected = RetryableError if number in PASSING else CliNotStartedError
    with pytest.raises(expected, match=os.strerror(number)):
        await CliProcess.start(["true"], environment={}, cwd=tmp_path, max_line_bytes=100)


async def test_a_nul_in_what_is_executed(tmp_path: Path) -> None:
    """The operating system has no such arguments: told at once."""
    with pytest.raises(CliNotStartedError, match="null byte"):
        await CliProcess.start(["true", "a\0b"], environment={}, cwd=tmp_path, max_line_bytes=100)


async def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    """At whatever step of it: no descriptor and no process."""

    def left() -> tuple[int, int]:
        return sum(1 for _ in Path("/proc/self/fd").iterdir()), len(psutil.Process().children())

    before = left()
    for steps in range(12):
        starting = asyncio.ensure_future(
            CliProcess.start(["sleep", "60"], environment={}, cwd=tmp_path, max_line_bytes=100)
        )
        for _ in range(steps):
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    await wait_until(lambda: left() == before, description="descriptors and processes as before")
