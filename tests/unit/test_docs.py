"""The pages hold together: links lead somewhere, commands exist, shell blocks parse, tables are what the code says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from eldermesh_cli.program.command_line import make_app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_SHELL = {"bash", "sh"}
_VERB = re.compile(r"[a-z]+")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=_name)


def _blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and content of each fenced block."""
    for indent, language, content in _FENCE.findall(page.read_text("utf-8")):
        yield language, re.sub(rf"^{indent}", "", content, flags=re.MULTILINE)


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text("utf-8"))


def _anchor(heading: str) -> str:
    """What a heading is called in links, as forges make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    """To files that are there, and to headings that are on them."""
    for target in _LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in {_anchor(heading) for heading in _HEADING.findall(_prose(there))}, target


@every_page
def test_shell_blocks_parse(page: Path) -> None:
    """Bash reads every block that is one for a shell, without running it."""
    for language, content in _blocks(page):
        if language in _SHELL:
            checked = subprocess.run(
                ["bash", "-n"], input=content, capture_output=True, text=True, timeout=120, check=False
            )
            assert checked.returncode == 0, f"{content}\n{checked.stderr}"


@every_page
def test_python_blocks_compile(page: Path) -> None:
    """Every block of Python is Python."""
    for language, content in _blocks(page):
        if language == "python":
            compile(content, _name(page), "exec")


def _command_lines(page: Path) -> Iterator[list[str]]:
    """The words behind each `mesh` in shell blocks and in code within sentences."""
    lines = [line for language, content in _blocks(page) if language in _SHELL for line in content.splitlines()]
    lines += re.findall(r"`([^`]+)`", _prose(page))
    for line in lines:
        for part in re.split(r"\|+|&&|;|\$\(|\)", line):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:  # a part of a quotation; the whole line was parsed above
                continue
            while words and "=" in words[0]:
                words.pop(0)
            if len(words) > 1 and words[0] == "mesh" and _VERB.fullmatch(words[1]):
                yield words[1:]


def _has_option(command: Any, option: str) -> bool:
    return option in {"--help"} | {name for parameter in command.params for name in parameter.opts}


@every_page
def test_commands_exist(page: Path) -> None:
    """Each `mesh VERB` is a verb, and knows the options that it is shown with."""
    root: Any = get_command(make_app())
    for verb, *words in _command_lines(page):
        command = root.get_command(None, verb)
        assert command is not None, f"mesh {verb}"
        group = getattr(command, "commands", None)
        if group is not None and words:
            assert words[0] in group, f"mesh {verb} {words[0]}"
            command = group[words[0]]
        for word in words:
            if word == "--":
                break
            if word.startswith("--"):
                assert _has_option(command, word.partition("=")[0]), f"mesh {verb} … {word}"


def _settings_table(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "scripts" / "settings_table.py"
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_the_table_of_settings_is_up_to_date(tmp_path: Path) -> None:
    """docs/reference/configuration.md has every setting with its default; a difference is found, and written anew."""
    checked = _settings_table("--check")
    assert checked.returncode == 0, checked.stderr

    page, shipped = tmp_path / "configuration.md", ROOT / "docs" / "reference" / "configuration.md"
    page.write_text(shipped.read_text("utf-8").replace("`MESH_SLOTS`", "`MESH_PLACES`"))
    assert _settings_table("--check", str(page)).returncode == 1
    assert _settings_table(str(page)).returncode == 0
    assert page.read_text("utf-8") == shipped.read_text("utf-8")


def test_every_file_that_architecture_names_is_there() -> None:
    """A moved file takes its line of the module map along. A bare name is in the directory of the one before it."""
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    table = page.partition("## Which file answers which question")[2].partition("## Layers")[0]
    for line in table.splitlines():
        directory = ROOT
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", line):
            if "/" in name and (ROOT / name).exists():
                directory = (ROOT / name).parent if name.endswith(".py") else ROOT / name
            else:
                assert (directory / name).exists(), f"{line}: {name}"
                directory = (directory / name).parent if name.endswith(".py") else directory


def test_every_page_stands_in_the_folder_of_its_kind() -> None:
    """Tutorial, how-to, reference, explanation; decisions have a folder of their own."""
    kinds = {"tutorial", "how-to", "reference", "explanation", "adr"}
    docs = ROOT / "docs"
    for page in docs.rglob("*.md"):
        assert page.parent.parent == docs, _name(page)
        assert page.parent.name in kinds, _name(page)


_PAGES_WITH_READERS = [page for page in PAGES if page.name != "CHANGELOG.md" and not page.name[0].isdigit()]


@pytest.mark.parametrize("page", _PAGES_WITH_READERS, ids=_name)
def test_a_page_says_first_whom_it_is_for(page: Path) -> None:
    """The line after the title begins with "For". Of decisions their list says it."""
    title, blank, first, *_ = page.read_text("utf-8").splitlines()
    assert title.startswith("# ")
    assert blank == ""
    assert first.startswith("For "), first


def test_every_decision_is_listed() -> None:
    """docs/adr/README.md links each decision, under its title; the numbers have no gap."""
    directory = ROOT / "docs" / "adr"
    listed = (directory / "README.md").read_text("utf-8")
    decisions = sorted(directory.glob("[0-9]*.md"))
    for number, path in enumerate(decisions, 1):
        title = path.read_text("utf-8").splitlines()[0].removeprefix("# ")
        assert path.name.startswith(f"{number:04}-")
        assert title.startswith(f"{number}. ")
        assert f"[{title}]({path.name})" in listed
