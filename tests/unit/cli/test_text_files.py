"""Which files `mesh index` reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from eldermesh.cli import text_files
from eldermesh.cli.errors import CliError
from eldermesh.cli.text_files import MAX_FILE_BYTES, Skipped, listed_files, read_files


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
    return [path.relative_to(root).as_posix() for path in listed_files(root, globs)]


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
    read = [file.path for file in read_files(listed_files(root, ()), root, skipped)]
    assert read == ["project/README", "project/docs/a.md", "project/docs/deep/b.md", "project/main.py"]
    assert skipped.files == {
        "larger than 512 KiB": ["project/huge.txt"],
        "no UTF-8 text": ["project/image.py", "project/latin.txt"],
    }
    assert skipped.count == 3


def test_one_file(root: Path) -> None:
    """A file that is named is read whatever its kind."""
    table = root / "docs" / "table.csv"
    assert listed_files(table, ()) == [table]
    assert [file.path for file in read_files([table], table, Skipped())] == ["table.csv"]


def test_a_file_that_went_away(root: Path) -> None:
    """It is skipped, with the reason."""
    skipped = Skipped()
    assert list(read_files([root / "gone.md"], root, skipped)) == []
    assert skipped.files == {"cannot be read (No such file or directory)": ["project/gone.md"]}


def test_too_many_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything is read or sent."""
    monkeypatch.setattr(text_files, "MAX_FILES", 3)
    with pytest.raises(CliError, match="more than 3 text files"):
        listed_files(root, ())
