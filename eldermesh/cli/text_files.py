"""The text files below a path that are worth reading."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from eldermesh.cli.errors import usage_error

MAX_FILE_BYTES: Final = 512 * 1024
MAX_FILES: Final = 20_000

SUFFIXES: Final = frozenset(
    """
    .adoc .asciidoc .bash .c .cc .cfg .conf .cpp .cs .css .dart .ex .exs .erl .go .graphql .h .hpp .hs .htm .html .ini
    .java .jl .js .jsx .kt .lua .markdown .md .mjs .ml .org .php .pl .proto .ps1 .py .pyi .r .rb .rs .rst .scala .scss
    .sh .sql .swift .tex .textile .tf .toml .ts .tsx .txt .vue .yaml .yml .zig
    """.split()  # noqa: SIM905 - a list of so many quoted words cannot be read
)
NAMES: Final = frozenset(
    ("AUTHORS", "CHANGELOG", "CONTRIBUTING", "Dockerfile", "LICENSE", "Makefile", "README", "TODO")
)

_PASSED_OVER = frozenset(("__pycache__", "node_modules", "venv"))


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file's bytes, UTF-8, and its name as citations have it."""

    path: str
    content: bytes


@dataclass(slots=True)
class Skipped:
    """What was not read, by the reason."""

    files: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, path: str) -> None:
        """A file was skipped."""
        self.files.setdefault(reason, []).append(path)

    @property
    def count(self) -> int:
        """How many files."""
        return sum(map(len, self.files.values()))


def listed_files(root: Path, globs: Sequence[str]) -> list[Path]:
    """The files to look at, sorted: of the usual kinds, or those that fit one of the globs.

    What is hidden, links, and directories of installed packages are passed over.

    Raises:
        CliError: there are more than `MAX_FILES`.
    """
    if root.is_file():
        return [root]
    found: list[Path] = []
    for directory, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith(".") and name not in _PASSED_OVER)
        for name in sorted(files):
            path = Path(directory, name)
            if not name.startswith(".") and not path.is_symlink() and fits(path.relative_to(root).as_posix(), globs):
                found.append(path)
        if len(found) > MAX_FILES:
            raise usage_error(f"{root} has more than {MAX_FILES} text files", "narrow it by --glob")
    return sorted(found)


def fits(name: str, globs: Sequence[str]) -> bool:
    """Whether a file, named relative to the root, is one to look at. A `*` also stands for directories."""
    base = name.rpartition("/")[2]
    if globs:
        return any(fnmatchcase(name, glob) or fnmatchcase(base, glob) for glob in globs)
    return Path(base).suffix.lower() in SUFFIXES or base in NAMES


def read_files(files: Sequence[Path], root: Path, skipped: Skipped) -> Iterator[TextFile]:
    """The text files among `files`; the others are added to `skipped`. Paths begin with the root's own name."""
    for path in files:
        name = path.relative_to(root.parent).as_posix()
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                skipped.add(f"larger than {MAX_FILE_BYTES // 1024} KiB", name)
                continue
            content = path.read_bytes()
        except OSError as error:
            skipped.add(f"cannot be read ({error.strerror})", name)
            continue
        if _is_text(content) and name.isprintable():
            yield TextFile(name, content)
        else:
            skipped.add("no UTF-8 text", name)


def _is_text(content: bytes) -> bool:
    if b"\0" in content:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
