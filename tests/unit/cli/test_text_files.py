"""Which files `mesh index` reads."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from eldermesh_cli.program.errors import CliError
from eldermesh_cli.teach import text_files
from eldermesh_cli.teach.text_files import MAX_FILE_BYTES, Skipped, listed_files, read_files
from tests.plain_permissions import plain_permissions


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with all kinds of files."""
    root = tmp_path / "project"
    contents: dict[str, bytes] = {
        "README": b"read me",
        "docs/a.md": b"a",
        "docs/deep/b.md": b"b",
        "docs/table.csv": b"1,2",
        "main.py": b"pass",
        "image.py": b"\x89PNG\0",
        "latin.txt": "Käse".encode("latin-1"),
        "huge.txt": b"x" * (MAX_FILE_BYTES + 1),
        ".env": b"TOKEN=1",
        ".git/config.md": b"no",
        "node_modules/x.md": b"no",
    }
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "link.md").symlink_to(root / "docs" / "a.md")
    return root


def _names(root: Path, *globs: str) -> list[str]:
    return [path.relative_to(root).as_posix() for path in listed_files(root, globs, Skipped())]


def test_the_usual_kinds(root: Path) -> None:
    """Hidden files, links, installed packages and other kinds are passed over."""
    expected = ["README", "docs/a.md", "docs/deep/b.md", "huge.txt", "image.py", "latin.txt", "main.py"]
    assert _names(root) == expected
    assert _names(root / "docs") == ["a.md", "deep/b.md"]


def test_globs_choose_any_kind(root: Path) -> None:
    """By the name or by the path below the root."""
    assert _names(root, "*.csv") == ["docs/table.csv"]
    assert _names(root, "docs/*.md") == ["docs/a.md", "docs/deep/b.md"]


def test_what_is_no_text_is_skipped_and_said(root: Path) -> None:
    """Paths begin with the name of the root."""
    skipped = Skipped()
    read = [file.path for file in read_files(listed_files(root, (), skipped), root, skipped)]
    assert read == ["project/README", "project/docs/a.md", "project/docs/deep/b.md", "project/main.py"]
    assert skipped.files == {
        "larger than 512 KiB": ["project/huge.txt"],
        "no UTF-8 text": ["project/image.py", "project/latin.txt"],
    }
    assert skipped.count == 3


def test_one_file(root: Path) -> None:
    """A file that is named is read whatever its kind."""
    table = root / "docs" / "table.csv"
    assert listed_files(table, (), Skipped()) == [table]
    assert [file.path for file in read_files([table], table, Skipped())] == ["table.csv"]


def test_a_file_that_went_away(root: Path) -> None:
    """It is skipped, with the reason."""
    skipped = Skipped()
    assert list(read_files([root / "gone.md"], root, skipped)) == []
    assert skipped.files == {"gone meanwhile": ["project/gone.md"]}
    assert not skipped.may_be_there("project/gone.md")


def test_too_many_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything is read or sent."""
    monkeypatch.setattr(text_files, "MAX_FILES", 3)
    with pytest.raises(CliError, match="more than 3 text files"):
        listed_files(root, (), Skipped())


def _read(root: Path, globs: tuple[str, ...] = ()) -> tuple[list[str], Skipped]:
    skipped = Skipped()
    with plain_permissions():
        files = listed_files(root, globs, skipped)
        return [file.path for file in read_files(files, root, skipped)], skipped


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_directory_that_cannot_be_read(root: Path, mode: int) -> None:
    """Whatever its permissions lack, it is said, and what lies below it may be there; nothing else may."""
    (root / "docs" / "deep").chmod(mode)
    read, skipped = _read(root)
    (root / "docs" / "deep").chmod(0o755)
    assert read == ["project/README", "project/docs/a.md", "project/main.py"]
    ((reason, names),) = skipped.unreadable.items()
    assert reason == "Permission denied"
    assert names in (["project/docs/deep"], ["project/docs/deep/b.md"])
    assert skipped.may_be_there("project/docs/deep/b.md")
    assert not skipped.may_be_there("project/docs/deeper.md")
    assert not skipped.may_be_there("project/docs/gone.md")


def test_a_root_that_cannot_be_read(root: Path) -> None:
    """Everything of it may be there."""
    root.chmod(0)
    read, skipped = _read(root)
    root.chmod(0o755)
    assert read == []
    assert skipped.unreadable == {"Permission denied": ["project"]}
    assert skipped.may_be_there("project/docs/a.md")
    assert not skipped.may_be_there("other/a.md")


def test_a_root_behind_a_directory_that_cannot_be_searched(root: Path) -> None:
    """Even whether it is there cannot be seen."""
    (root / "docs").chmod(0)
    read, skipped = _read(root / "docs" / "deep")
    (root / "docs").chmod(0o755)
    assert read == []
    assert skipped.may_be_there("deep/b.md")


def test_a_file_that_cannot_be_read(root: Path) -> None:
    """It alone may be there."""
    (root / "main.py").chmod(0)
    read, skipped = _read(root)
    assert "project/main.py" not in read
    assert skipped.unreadable == {"Permission denied": ["project/main.py"]}
    assert skipped.may_be_there("project/main.py")


def test_only_regular_files_are_opened(root: Path) -> None:
    """Pipes, sockets, devices and links are named, and nobody waits for them; a writer of a pipe is not woken."""
    os.mkfifo(root / "docs" / "pipe.md")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(root / "docs" / "socket.md"))
    (root / "docs" / "circle.md").symlink_to("circle.md")
    (root / "docs" / "circle").symlink_to(root)
    read, skipped = _read(root)
    assert [name for name in read if "docs" in name] == ["project/docs/a.md", "project/docs/deep/b.md"]
    assert skipped.files["a pipe, no regular file"] == ["project/docs/pipe.md"]
    assert skipped.files["a socket, no regular file"] == ["project/docs/socket.md"]


def test_a_device_is_not_opened() -> None:
    """Whose name fits: `zero` would be read without end."""
    skipped = Skipped()
    devices = [Path("/dev/zero"), Path("/dev/tty")]
    assert list(read_files(devices, Path("/dev"), skipped)) == []
    assert skipped.files == {"a device, no regular file": ["dev/zero", "dev/tty"]}


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_root_that_is_no_directory_and_no_file(kind: str, tmp_path: Path) -> None:
    """Refused as what was typed."""
    pipe = tmp_path / "notes.md"
    os.mkfifo(pipe)
    with pytest.raises(CliError, match="neither a directory nor a regular file"):
        listed_files(pipe if kind == "pipe" else Path("/dev/zero"), (), Skipped())


def test_files_of_the_kernel() -> None:
    """They say that they are empty, wait for readers, vanish: each costs itself alone."""
    skipped = Skipped()
    names = ["kmsg", "cpuinfo", "kcore", "self/mem", "self/status"]
    read = [file.path for file in read_files([Path("/proc", name) for name in names], Path("/proc"), skipped)]
    assert {"proc/cpuinfo", "proc/self/status"} <= set(read)
    assert len(read) + skipped.count == len(names)


def test_names_that_no_document_can_have(root: Path) -> None:
    """They are said as what they are."""
    (root / "docs" / os.fsdecode(b"caf\xe9.md")).write_bytes(b"text")
    (root / "docs" / "two\nlines.md").write_bytes(b"text")
    _, skipped = _read(root)
    assert skipped.files["the name is not UTF-8"] == ["project/docs/caf\udce9.md"]
    assert skipped.files["the name cannot be printed"] == ["project/docs/two\nlines.md"]
