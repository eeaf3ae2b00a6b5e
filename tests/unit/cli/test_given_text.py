"""What a verb reads from a file or standard input."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import pytest

from eldermesh_cli.program.errors import CliError
from eldermesh_cli.submit.job_document import TypedJob, build_submit
from eldermesh_cli.submit.request_document import TypedRequest, build_request
from eldermesh_cli.submit.text_input import read_given, read_given_text
from services.claude_exec.loopback.script import Script
from services.claude_exec.loopback.steps import Reply
from services.notifier.rules.file import load_rules
from shared.errors import ConfigurationError
from shared.settings import Settings
from tests.unit.cli.command_line import CommandLine

MARKED = {
    "utf-8": b"\xef\xbb\xbf",
    "utf-16-le": b"\xff\xfe",
    "utf-16-be": b"\xfe\xff",
    "utf-32-le": b"\xff\xfe\0\0",
    "utf-32-be": b"\0\0\xfe\xff",
}


@pytest.fixture(params=MARKED)
def encoding(request: pytest.FixtureRequest) -> str:
    """Each encoding whose mark Windows programs write."""
    return str(request.param)


def _marked(text: str, encoding: str) -> bytes:
    return MARKED[encoding] + text.encode(encoding)


def _typed_prompt() -> TypedRequest:
    return TypedRequest(prompt="-", options=(), labels=(), model=None, tools=(), fields={})


def _given(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_mark_is_no_content(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of items as text, items as JSON, a whole document and a prompt, in files and on standard input."""
    items = tmp_path / "items.txt"
    items.write_bytes(_marked("Käse\r\nSay bye\r\n", encoding))
    numbers = tmp_path / "numbers.jsonl"
    numbers.write_bytes(_marked("4\r\n9", encoding))
    document = tmp_path / "job.json"
    document.write_bytes(_marked('{"workload": "python", "items": [1]}', encoding))

    as_text = build_submit(TypedJob(workload="claude", items_file=str(items), as_text=True))
    as_json = build_submit(TypedJob(workload="python", items_file=str(numbers)))
    assert as_text.items == ["Käse", "Say bye"]
    assert as_json.items == [4, 9]
    assert build_submit(TypedJob(document=str(document))).items == [1]
    _given(monkeypatch, numbers.read_bytes())
    assert build_submit(TypedJob(workload="python", inline=("-",))).items == [4, 9]
    _given(monkeypatch, items.read_bytes())
    assert build_request(_typed_prompt()).prompt == "Käse\r\nSay bye\r\n"


def test_only_the_first_mark_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere it is a character like others."""
    _given(monkeypatch, "\ufeffa\ufeffb".encode())
    assert build_request(_typed_prompt()).prompt == "a\ufeffb"


@pytest.mark.parametrize("content", [b"\xff\xfea", b"\xff\xfe\0\xd8", b"\xff\xfe\0\0a", b"\xfe\xff\xd8\0\0a"])
def test_a_mark_that_lies(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is half a character is refused, and the message says what the mark promised."""
    _given(monkeypatch, content)
    with pytest.raises(CliError, match=r"begins with the mark of UTF-(16|32)-.E, and is something else"):
        read_given("-", 100)


def test_what_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is escaped in the message, so that it stays one line."""
    path = tmp_path / "two\nlines"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(CliError, match=r"two\\nlines is not UTF-8"):
        read_given_text(str(path), 100)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CliError, match="standard input cannot be read: it is closed"):
        read_given("-", 100)
    with pytest.raises(CliError, match="cannot be read: Is a directory"):
        read_given(str(tmp_path), 100)
    with pytest.raises(CliError, match="has more than 100 bytes"):
        read_given("/dev/zero", 100)


def test_a_pipe_of_the_shell(tmp_path: Path) -> None:
    """`--items-file <(seq 3)` names a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"1\n2\n3\n",))
    writer.start()
    assert read_given(str(pipe), 100) == b"1\n2\n3\n"
    writer.join()


def test_standard_input_that_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program may have made it so: what comes late belongs to it all the same."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    monkeypatch.setattr(sys, "stdin", os.fdopen(read_end))
    os.write(write_end, b"1\n")

    def write_and_close() -> None:
        os.write(write_end, b"2\n")
        os.close(write_end)

    late = threading.Timer(0.2, write_and_close)
    late.start()
    assert read_given("-", 100) == b"1\n2\n"
    late.join()
    sys.stdin.close()


def test_a_note_with_a_mark(mesh: CommandLine) -> None:
    """The mark alone is an empty note."""
    ran = mesh("notes", "add", "-", "--json", stdin=b"\xef\xbb\xbf\r\n")
    assert (ran.status, ran.error()["message"]) == (2, "the note is empty")
    ran = mesh("notes", "add", "-", "--json", stdin=b"caf\xe9")
    assert (ran.status, ran.error()["message"]) == (2, "standard input is not UTF-8")


def test_files_that_services_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules, scripts and `.env`: a mark is no content."""
    mark = "\ufeff"
    rules, script = tmp_path / "rules.yaml", tmp_path / "script.yaml"
    rules.write_text(f"{mark}channels:\n  terminal: {{type: console}}\n", "utf-8")
    script.write_text(f'{mark}review: "[[reply fine]]"\n', "utf-8")
    (tmp_path / ".env").write_text(f"{mark}MESH_TOPIC_PREFIX=marked.\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MESH_TOPIC_PREFIX", raising=False)
    assert list(load_rules(rules).channels) == ["terminal"]
    assert Script.load(script).steps("review this") == (Reply("fine"),)
    assert Settings().topic_prefix == "marked."


def test_services_open_regular_files_only(tmp_path: Path) -> None:
    """A pipe or a device in the place of rules or of a script is refused, and not waited for."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, says in ((pipe, "a pipe, no regular file"), (Path("/dev/zero"), "a device, no regular file")):
        with pytest.raises(ConfigurationError, match=says):
            load_rules(path)
        with pytest.raises(ConfigurationError, match=says):
            Script.load(path)
