"""A container's health check: its exit status, and the line that it says."""

from __future__ import annotations

import pytest

from shared.health.container_check import check_health
from shared.health.parts import CLAUDE_EXEC, NOTIFIER, ROUTER, SAGES
from shared.kafka.topics import CLAUDE_HISTORY, JOBS_HISTORY, NOTIFICATIONS
from shared.settings import Settings


async def _nothing(_: Settings) -> str | None:
    return None


async def _away(_: Settings) -> str | None:
    return "the broker is away"


async def _never_asked(_: Settings) -> str | None:
    raise AssertionError("the first trouble is told, and nothing is asked after it")


def test_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is wrong: status 0, and not a word."""
    assert check_health(_nothing, _nothing) == 0
    assert capsys.readouterr().err == ""


def test_first_trouble_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1, and one line."""
    assert check_health(_nothing, _away, _never_asked) == 1
    assert capsys.readouterr().err == "the broker is away\n"


def test_settings_that_cannot_be_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A container with wrong settings is not healthy, and says which."""
    monkeypatch.setenv("MESH_DRAIN_SECONDS", "many")
    assert check_health(_never_asked) == 1
    told = capsys.readouterr().err
    assert "drain_seconds" in told.lower()


def test_each_history_has_owners() -> None:
    """Each history of the mesh is asked about by one part, with its group of owners."""
    histories = {part.history: part.owners for part in (ROUTER, CLAUDE_EXEC, NOTIFIER, SAGES) if part.history}
    assert set(histories) == {JOBS_HISTORY, CLAUDE_HISTORY, NOTIFICATIONS}
    assert len(set(histories.values())) == len(histories)
    assert all(histories.values())
