"""Options and prompts of `claude` jobs: what is read, and what is refused at submission."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from services.claude_exec import options
from services.claude_exec.options import MAX_SCHEMA_BYTES, ClaudeOptions, judge_prompts, judged_options, prompt_of
from shared.errors import DeadLetterError
from shared.settings import Settings

_SCHEMA: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With one root, beside the data."""
    (tmp_path / "code").mkdir()
    return Settings(data_dir=tmp_path / "data", claude_roots=(tmp_path / "code", tmp_path / "data"))


def test_all_options_are_read(settings: Settings, tmp_path: Path) -> None:
    """Every option at once, as a submit has them."""
    read = judged_options(
        {
            "model": "claude-sonnet-4-5",
            "system_prompt": "Be short.",
            "allowed_tools": ["Read", "Bash(git log:*)", "Bash(git diff:*)"],
            "disallowed_tools": ["Bash(git push:*)"],
            "permission_mode": "acceptEdits",
            "max_turns": 3,
            "max_cost_usd": 1,
            "cwd": str(tmp_path / "code" / "project"),
            "timeout_seconds": 60,
            "output_schema": _SCHEMA,
        },
        settings,
    )
    assert read.offered_tools == ("Read", "Bash")
    assert read.cwd == tmp_path / "code" / "project"
    assert read.output_schema == _SCHEMA


def test_no_options_are_fine(settings: Settings) -> None:
    """Nothing is required; no tool is offered."""
    assert judged_options({}, settings) == ClaudeOptions()
    assert ClaudeOptions().offered_tools == ()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tools": ["Bash"]}, "tools: unknown field"),
        ({"model": "-p"}, "model: "),
        ({"model": ""}, "model: "),
        ({"system_prompt": "  "}, "system_prompt: must not be empty"),
        ({"system_prompt": "x" * 100_001}, "system_prompt: "),
        ({"allowed_tools": "Bash"}, "allowed_tools: "),
        ({"allowed_tools": ["bash"]}, "allowed_tools[0]: "),
        ({"allowed_tools": ["Bash(a),Write"]}, "allowed_tools[0]: "),
        ({"allowed_tools": ["Bash(a\n)"]}, "allowed_tools[0]: "),
        ({"allowed_tools": ["--help"]}, "allowed_tools[0]: "),
        ({"allowed_tools": ["Read"], "disallowed_tools": ["Read"]}, "both allowed and disallowed: Read"),
        ({"allowed_tools": ["Bash(ls:*)"], "disallowed_tools": ["Bash"]}, "both allowed and disallowed: Bash(ls:*)"),
        ({"permission_mode": "acceptEdits"}, "permission_mode acceptEdits means nothing without allowed_tools"),
        ({"permission_mode": "yolo"}, "permission_mode: "),
        (
            {"permission_mode": "bypassPermissions", "allowed_tools": ["Bash"]},
            "permission_mode: MESH_CLAUDE_PERMISSION_MODES does not allow bypassPermissions",
        ),
        ({"max_turns": 0}, "max_turns: "),
        ({"max_turns": 1.5}, "max_turns: "),
        ({"max_turns": "3"}, "max_turns: "),
        ({"max_cost_usd": 0}, "max_cost_usd: "),
        ({"timeout_seconds": -1}, "timeout_seconds: "),
        ({"timeout_seconds": 1801}, "timeout_seconds: at most 1800"),
        ({"output_schema": {"type": "string"}}, 'output_schema: the type must be "object"'),
        ({"output_schema": {"type": "object", "required": "n"}}, "output_schema: required: must be an array of names"),
        ({"output_schema": {"type": "object", "title": "x" * MAX_SCHEMA_BYTES}}, "output_schema: at most"),
        ({"allowed_tools": ["Bash(" + "\U0001f600" * 400 + ")"] * 100}, "allowed_tools: at most"),
        ({"cwd": "code"}, "cwd: must be absolute"),
        ({"cwd": "/code/\0x"}, "cwd: a path has no NUL in it"),
        ({"cwd": "/code/" + "a/" * 100_000}, "cwd: at most 4096 bytes"),
        ({"cwd": 1}, "cwd: "),
        ({"cwd": "/etc"}, "cwd: does not lie below a directory of MESH_CLAUDE_ROOTS"),
        ({"a\nb" * 100: 1}, "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_what_is_refused(settings: Settings, options: dict[str, Any], reason: str) -> None:
    """Each refusal is one bounded line that names the option and never repeats its value."""
    with pytest.raises(DeadLetterError) as refused:
        judged_options(options, settings)
    assert refused.value.error_type == "invalid"
    assert refused.value.reason.startswith("options of claude: ")
    assert reason in refused.value.reason
    assert len(refused.value.reason) < 500
    assert "\n" not in refused.value.reason


@pytest.mark.parametrize("where", ["data", "data/blobs", ".", "code/../data", "code/link"])
def test_no_prompt_works_in_the_meshs_own_data(tmp_path: Path, where: str) -> None:
    """Neither in it, nor in a directory that holds it, nor by a detour; even where the roots would allow it."""
    (tmp_path / "code").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "code" / "link").symlink_to(tmp_path / "data")
    settings = Settings(data_dir=tmp_path / "data", claude_roots=(tmp_path,))
    with pytest.raises(DeadLetterError, match="holds the mesh's own data"):
        judged_options({"cwd": str(tmp_path / where)}, settings)


def test_a_link_out_of_the_roots_is_refused(settings: Settings, tmp_path: Path) -> None:
    """What counts is where a directory really is."""
    (tmp_path / "code" / "link").symlink_to("/etc")
    with pytest.raises(DeadLetterError, match="MESH_CLAUDE_ROOTS"):
        judged_options({"cwd": str(tmp_path / "code" / "link")}, settings)


def test_a_link_that_leads_to_itself_is_refused(settings: Settings, tmp_path: Path) -> None:
    """It is told as what it is, not as a failure of ours."""
    (tmp_path / "code" / "link").symlink_to("link")
    with pytest.raises(DeadLetterError, match="cwd: leads nowhere"):
        judged_options({"cwd": str(tmp_path / "code" / "link")}, settings)


def test_prompts() -> None:
    """A text, or an object with nothing but a text."""
    assert prompt_of("hello") == "hello"
    assert prompt_of({"prompt": " hello "}) == " hello "


@pytest.mark.parametrize(
    "item", ["", " \n\t", {"prompt": ""}, 4, None, ["x"], {"prompt": 1}, {"prompt": "x", "y": 1}, {}]
)
def test_items_that_are_no_prompts(item: Any) -> None:
    """The index of the first is in the reason."""
    with pytest.raises(DeadLetterError, match=r"^items\[1\]: an "):
        judge_prompts(["fine", item])


def test_a_directory_whose_file_system_does_not_answer_is_refused_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network mount that is away holds neither the event loop nor more than a few threads."""
    settings = Settings(claude_roots=(tmp_path,), data_dir=tmp_path / "data", _env_file=None)
    away, near, answers, looking = tmp_path / "away", tmp_path / "near", threading.Event(), list[Path]()
    resolve = Path.resolve

    def held(path: Path, strict: bool = False) -> Path:  # noqa: FBT001, FBT002 - as it is called
        if path.is_relative_to(away):
            looking.append(path)
            answers.wait(60.0)
        return resolve(path, strict)

    monkeypatch.setattr(options, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(Path, "resolve", held)
    try:
        for _ in range(12):
            with pytest.raises(DeadLetterError, match="did not answer"):
                judged_options({"cwd": str(away)}, settings)
        assert looking == [away]  # one that does not come back is not looked for again
        assert judged_options({"cwd": str(near)}, settings).cwd == near
        for number in range(12):
            with pytest.raises(DeadLetterError, match="did not answer"):
                judged_options({"cwd": str(away / str(number))}, settings)
        assert len(looking) == 8
    finally:
        answers.set()
    for thread in threading.enumerate():
        if thread.name == "cwd":
            thread.join(10.0)
    assert judged_options({"cwd": str(away)}, settings).cwd == away
