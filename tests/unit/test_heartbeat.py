"""The heartbeat file and what the check says of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eldermesh.launch import python_command
from shared.health.heartbeat import STALE_SECONDS, VARIABLE, Heartbeat, heartbeat_status


def test_without_the_variable_it_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where it is empty, as compose writes what is not set."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert heartbeat_status() is None
    monkeypatch.setenv(VARIABLE, "")
    assert heartbeat_status() is None


def test_the_age_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No file and an old one are unhealthy, each with its line; a young one is healthy without a word."""
    file = tmp_path / "heartbeat"
    monkeypatch.setenv(VARIABLE, str(file))
    assert heartbeat_status() == 1
    assert "has not started" in capsys.readouterr().err
    heart = Heartbeat(file)
    heart.beat()
    assert (heartbeat_status(), capsys.readouterr().err) == (0, "")
    old = time.time() - STALE_SECONDS - 1
    os.utime(file, (old, old))
    assert heartbeat_status() == 1
    assert "last heartbeat" in capsys.readouterr().err
    heart.beat()
    assert heartbeat_status() == 0
    heart.end()
    assert heartbeat_status() == 1


def test_trouble_is_told_once(tmp_path: Path) -> None:
    """And again when it comes back; so is a file that cannot be written."""
    trouble: list[str] = []
    heart = Heartbeat(tmp_path / "heartbeat", lambda: trouble[0] if trouble else None)
    assert heart.beat() is None
    trouble.append("it stands still")
    assert [heart.beat(), heart.beat()] == ["it stands still", None]
    trouble.clear()
    assert heart.beat() is None
    trouble.append("it stands still")
    assert heart.beat() == "it stands still"
    assert "cannot be written" in (Heartbeat(tmp_path / "missing" / "heartbeat").beat() or "")


@pytest.mark.parametrize(
    "check",
    [
        ("services.router.health", "router"),
        ("services.claude_exec.health",),
        ("services.sages.health",),
        ("services.notifier.health",),
    ],
)
def test_the_check_is_cheap(check: tuple[str, ...], tmp_path: Path) -> None:
    """It imports nothing that takes time: a container asks every few seconds."""
    (tmp_path / "heartbeat").touch()
    command = [sys.executable, "-X", "importtime", *python_command(*check)[1:]]
    environment = os.environ | {VARIABLE: str(tmp_path / "heartbeat")}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "shared.health.heartbeat" in imported
    assert not imported & {"asyncio", "pydantic", "celery", "aiokafka", "redis"}
