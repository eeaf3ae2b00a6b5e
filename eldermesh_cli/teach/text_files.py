"""The text files below a path that are worth reading."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

from eldermesh_cli.program.errors import usage_error
from eldermesh_cli.terminal.safe_text import escaped_name, is_text
from shared.text.regular_file import FileRefusedError, read_regular_file

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
    """What was not read: files that are none of this verb's, by the reason, and what could not be read this time."""

    files: dict[str, list[str]] = field(default_factory=dict)
    unreadable: dict[str, list[str]] = field(default_factory=dict)
    """Files and directories. What was indexed of them, or below them, stays."""
    _unreadable_names: set[str] = field(default_factory=set)

    def add(self, reason: str, path: str) -> None:
        """A file was skipped."""
        self.files.setdefault(reason, []).append(path)

    def could_not_read(self, path: str, error: OSError) -> None:
        """A file or a directory could not be read."""
        self.unreadable.setdefault(error.strerror or repr(error), []).append(path)
        self._unreadable_names.add(path)

    @property
    def count(self) -> int:
        """How many files and directories."""
        return sum(map(len, (*self.files.values(), *self.unreadable.values())))

    def may_be_there(self, path: str) -> bool:
        """Whether the file of this name may be there all the same: it, or a directory above it, could not be read."""
        # The last of the parents is the root's own directory, which has this name only if the root is `/`.
        above = (path, *(parent.as_posix() for parent in PurePosixPath(path).parents))
        return not self._unreadable_names.isdisjoint(above)


def listed_files(root: Path, globs: Sequence[str], skipped: Skipped) -> list[Path]:
    """The files to look at, sorted: of the usual kinds, or those that fit one of the globs.

    What is hidden, links, and directories of installed packages are passed over. A directory that cannot be read, and
    what is no regular file, are added to `skipped`.

    Raises:
        CliError: there are more than `MAX_FILES`, or `root` is neither a directory nor a file.
    """
    try:
        mode = root.stat().st_mode
    except OSError as error:
        skipped.could_not_read(_name(root, root), error)
        return []
    if stat.S_ISREG(mode):
        return [root]
    if not stat.S_ISDIR(mode):
        raise usage_error(f"{escaped_name(root)} is neither a directory nor a regular file")
    found: list[Path] = []
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    _sort_in(Path(directory, entry.name), entry, root, globs, found, waiting, skipped)
        except OSError as error:
            skipped.could_not_read(_name(directory, root), error)
        if len(found) > MAX_FILES:
            raise usage_error(f"{escaped_name(root)} has more than {MAX_FILES} text files", "narrow it by --glob")
    return sorted(found)


def _sort_in(
    path: Path,
    entry: os.DirEntry[str],
    root: Path,
    globs: Sequence[str],
    found: list[Path],
    waiting: list[Path],
    skipped: Skipped,
) -> None:
    if entry.name.startswith("."):
        return
    try:
        if entry.is_symlink():
            return
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in _PASSED_OVER:
                waiting.append(path)
        elif fits(path.relative_to(root).as_posix(), globs):
            found.append(path)
    except OSError as error:  # what it is could not be seen
        skipped.could_not_read(_name(path, root), error)


def fits(name: str, globs: Sequence[str]) -> bool:
    """Whether a file, named relative to the root, is one to look at. A `*` also stands for directories."""
    base = name.rpartition("/")[2]
    if globs:
        return any(fnmatchcase(name, glob) or fnmatchcase(base, glob) for glob in globs)
    return Path(base).suffix.lower() in SUFFIXES or base in NAMES


def read_files(files: Sequence[Path], root: Path, skipped: Skipped) -> Iterator[TextFile]:
    """The text files among `files`; the others are added to `skipped`. Paths begin with the root's own name."""
    for path in files:
        name = _name(path, root)
        try:
            # A named root has been resolved: it is no link any more, unless somebody puts one there.
            content = read_regular_file(path, MAX_FILE_BYTES, follow_links=False)
        except FileRefusedError as error:
            skipped.add(str(error.strerror), name)
        except FileNotFoundError:
            skipped.add("gone meanwhile", name)
        except OSError as error:
            skipped.could_not_read(name, error)
        else:
            if not name.isprintable():
                skipped.add("the name cannot be printed" if is_text(name) else "the name is not UTF-8", name)
            elif not _is_text(content):
                skipped.add("no UTF-8 text", name)
            else:
                yield TextFile(name, content)


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root.parent).as_posix()


def _is_text(content: bytes) -> bool:
    if b"\0" in content:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
