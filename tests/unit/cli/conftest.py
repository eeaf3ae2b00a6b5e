"""A command line without any mesh."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> CommandLine:
    """Runs `mesh …` in an environment without settings, on a data directory where nothing runs."""
    for name in list(os.environ):
        if name.startswith(("MESH_", "TRACE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MESH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capfdbinary)
