"""Texts from outside on a terminal, in pipes, and in JSON."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.text import Text

from eldermesh_cli.answers.jobs import NoteRemoved
from eldermesh_cli.follow.trace_source import Span
from eldermesh_cli.follow.trace_tree import trace_tree
from eldermesh_cli.terminal.output import Output, columns_table, pairs_table, write_error
from eldermesh_cli.terminal.safe_text import escaped_name, is_text, terminal_json, terminal_text
from tests.terminal import run_on_terminal
from tests.unit.cli.command_line import CommandLine

HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202eabc\u2066\u200f\u061c\u2028\x00\x08\r\x7f\U000e0041[bold]b[/bold]"
"""Title, clear screen, C1, direction, line separator, NUL, backspace, return, DEL, tag, and rich's own markup."""

ORDERS = tuple(set(HOSTILE) - set("]0;title[2J31mabc[bold]b[/bold]"))


class _Terminal(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), "utf-8")

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


def _span() -> Span:
    return Span("1" * 16, None, HOSTILE, HOSTILE, 0, 1, "error", {"otel.status_description": HOSTILE})


WAYS: dict[str, Callable[[Output], None]] = {
    "write": lambda output: output.write(f"{HOSTILE}\n"),
    "bytes": lambda output: output.write_bytes(HOSTILE.encode()),
    "text": lambda output: output.show(HOSTILE),
    "rich text": lambda output: output.show(Text(HOSTILE)),
    "pairs": lambda output: output.show(pairs_table([("why", HOSTILE), (HOSTILE, "x")])),
    "columns": lambda output: output.show(columns_table(("A", HOSTILE), [(HOSTILE, 1)])),
    "trace": lambda output: output.show(trace_tree([_span()])),
    "note": lambda output: output.note(HOSTILE),
    "error": lambda _: write_error(HOSTILE),
    "json": lambda output: output.json({"reason": HOSTILE}),
    "answer": lambda output: output.answer(NoteRemoved(note_id=HOSTILE)),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_text_gives_a_terminal_orders(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way a verb prints it; rich's markup in it stays text."""
    monkeypatch.setenv("NO_COLOR", "1")  # so that every escape is somebody else's
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "200")
    terminal = _Terminal()
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        WAYS[way](Output(as_json=False))
    shown = terminal.shown()
    assert "title" in shown
    assert not [order for order in ORDERS if order in shown]
    assert "[bold]" in shown


@pytest.mark.parametrize("way", WAYS)
def test_pipes_get_it_unchanged(
    way: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """But for what rich takes out of the texts of a table."""
    monkeypatch.setenv("COLUMNS", "200")
    WAYS[way](Output(as_json=False))
    out, err = capfdbinary.readouterr()
    sent = (out or err).decode()
    if way in ("json", "answer"):
        assert HOSTILE in json.loads(sent).values()
    elif way in ("write", "bytes", "note", "error"):
        assert sent.rstrip("\n") == HOSTILE
    else:
        assert "\x1b]0;title" in sent


def test_tables_in_pipes_end_with_their_texts(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """No blanks fill their lines, which whoever compares or cuts them would meet."""
    output = Output(as_json=False)
    output.show(pairs_table([("job", "4f"), ("state", "completed")]), columns_table(("A", "B"), [("long", 1), (2, 3)]))
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert lines == ["job    4f", "state  completed", "A     B", "long  1", "2     3"]


def test_what_stays() -> None:
    """Line ends, tabs, letters of every script, emoji with their joiners."""
    text = "a\tb\nc — Käse, עברית, 日本語, \N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}, e\N{COMBINING ACUTE ACCENT}"
    assert terminal_text(text) == text
    assert terminal_text("a\r\nb") == "a\nb"
    assert terminal_text("50 %\r100 %") == "50 %\ufffd100 %"


@pytest.mark.parametrize("text", [HOSTILE, "\ud83d", "caf\udce9", "日本語 \U000e0041"])
def test_json_has_the_same_value(text: str) -> None:
    """For whoever reads it from the terminal."""
    line = json.dumps({"a": text}, ensure_ascii=False)
    assert json.loads(terminal_json(line)) == {"a": text}
    assert not [order for order in ORDERS if order in terminal_json(line)]


def test_names_in_one_line() -> None:
    """As they can be typed again in most shells."""
    assert escaped_name("two\nlines") == r"two\nlines"
    assert escaped_name(os.fsdecode(b"caf\xe9")) == r"caf\xe9"
    assert escaped_name("Käse \x1b[2J\u202e") == r"Käse \x1b[2J\u202e"
    assert is_text("Käse")
    assert not is_text(os.fsdecode(b"caf\xe9"))


BAD = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize(
    "arguments",
    [
        ("notes", "add", BAD),
        ("index", ".", "--name", BAD),
        ("index", BAD),
        ("submit", "python", "1", "--label", f"a={BAD}"),
        ("ask", BAD),
        ("cancel", "4f970e3e-d1a3-5d45-8587-591465c16100", "--reason", BAD),
        ("up", "--data-dir", BAD),
        ("logs", BAD),
        ("dlq", "redrive", "--to", BAD),
        ("schema", BAD),
        (BAD,),
    ],
)
def test_arguments_that_are_no_utf_8(mesh: CommandLine, arguments: tuple[str, ...]) -> None:
    """Whatever verb they are for: a mistake of who typed them."""
    ran = mesh(*arguments, "--json")
    assert ran.status == 2
    assert r"caf\xe9" in ran.error()["message"]
    assert "is not UTF-8" in ran.error()["message"]


@pytest.mark.parametrize("name", ["MESH_DATA_DIR", "MESH_TOPIC_PREFIX", "MESH_KAFKA_BOOTSTRAP"])
def test_settings_that_are_no_utf_8(mesh: CommandLine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The variable is named."""
    monkeypatch.setenv(name, BAD)
    ran = mesh("config", "--json")
    assert ran.status == 2
    assert rf"{name}=caf\xe9 is not UTF-8" in ran.error()["message"]


def test_an_error_that_names_a_hostile_argument(tmp_path: Path) -> None:
    """On a real terminal, by the real command; the name in it is one line."""
    env = os.environ | {"MESH_DATA_DIR": str(tmp_path / "data"), "TERM": "dumb", "NO_COLOR": "1"}
    for arguments in (
        ("schema", HOSTILE.replace("\0", "")),
        ("submit", "--file", "\x1b[2J\nx"),
        ("\x1b[2J",),
    ):
        ran = run_on_terminal([sys.executable, "-m", "eldermesh_cli.main", *arguments], env)
        assert ran.status in (2, 4)
        assert "\x1b[2J" not in ran.shown
        assert "2J" in ran.shown
