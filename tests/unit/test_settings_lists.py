"""Lists in settings: entries separated by commas, and nothing that somebody takes for one."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import Settings

LISTS = [
    *("PYTHON_FUNCTIONS", "CLAUDE_ROOTS", "CLAUDE_PERMISSION_MODES", "CLAUDE_ENVIRONMENT", "CLAUDE_HIDDEN_PATHS"),
    "RAY_WORKLOADS",
]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ('["math:*", "work:count_*"]', "commas: math:*,work:count_*"),
        (' [ "math:*" ]', "commas: math:*"),
        ('"math:*"', "commas: math:*"),
        ("['math:*']", "commas: first,second"),
        ('"math:*","work:*"', "commas: first,second"),
        ('{"math": "*"}', "commas: first,second"),
        ("[]", "separated by commas"),
    ],
)
def test_a_list_in_json_is_refused_with_what_to_write(
    name: str, text: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken for one odd pattern it would allow nothing, and say nothing."""
    monkeypatch.setenv(f"MESH_{name}", text)
    with pytest.raises(ValidationError) as refused:
        Settings(_env_file=None)
    assert instead in str(refused.value)


@pytest.mark.parametrize("text", ["[a-c]*:run", "[!_]*:f,math:*", "a:b", ""])
def test_globs_with_brackets_are_taken(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no JSON."""
    monkeypatch.setenv("MESH_PYTHON_FUNCTIONS", text)
    assert Settings(_env_file=None).python_functions == tuple(filter(None, text.split(",")))


@pytest.mark.parametrize(
    "path", ["/srv/k*", "//srv/k", "/srv/(k", "/srv/[k]", "/srv/!k", "keys", "/", "/srv/../etc", "/srv/k,k2"]
)
def test_hidden_paths_are_what_a_rule_can_name(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would hide something else, or nothing."""
    monkeypatch.setenv("MESH_CLAUDE_HIDDEN_PATHS", path)
    with pytest.raises(ValidationError, match="claude_hidden_paths"):
        Settings(_env_file=None)


def test_a_hidden_path_that_is_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it leads is hidden, too, and a child process hides the same; one that leads to itself is refused."""
    (tmp_path / "real").mkdir()
    link, loop = tmp_path / "link", tmp_path / "loop"
    link.symlink_to("real")
    loop.symlink_to("loop")
    monkeypatch.setenv("MESH_CLAUDE_HIDDEN_PATHS", str(link))
    settings = Settings(_env_file=None)
    assert settings.claude_hidden_paths == (link, tmp_path / "real")
    monkeypatch.setenv("MESH_CLAUDE_HIDDEN_PATHS", settings.environment()["MESH_CLAUDE_HIDDEN_PATHS"])
    assert Settings(_env_file=None).claude_hidden_paths == settings.claude_hidden_paths
    monkeypatch.setenv("MESH_CLAUDE_HIDDEN_PATHS", str(loop))
    with pytest.raises(ValidationError, match="leads nowhere"):
        Settings(_env_file=None)
