"""Cuts a text into sections by the kind of file, and those into passages that are short enough to quote."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Final

from shared.documents import Passage
from shared.text.secret_masks import masked

CUTTING_VERSION: Final = 1
"""Raise it when files are cut differently, so that they count as changed and are indexed again."""

MAX_PASSAGE_CHARACTERS: Final = 1200
MAX_TITLE_CHARACTERS: Final = 160

_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")
_FENCE = re.compile(r"\s{0,3}(```|~~~)")
_UNDERLINE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}\s*$")
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class _Section:
    """Lines `first..last` of a file, counted from 1."""

    title: str
    first: int
    last: int


def cut(path: str, text: str) -> tuple[Passage, ...]:
    """The passages of a file, in order, with secrets masked. A file without words has none.

    A passage ends at the end of a section, at an empty line, or at the maximum length. A line that is longer than that
    becomes several passages.
    """
    # Not `splitlines`: editors do not count form feeds and its other line ends.
    lines = _LINE_END.split(masked(text))
    return tuple(passage for section in _sections(path, lines) for passage in _pieces(section, lines))


def _pieces(section: _Section, lines: Sequence[str]) -> Iterator[Passage]:
    first = section.first
    while first <= section.last:
        last = _last_line(lines, first, section.last)
        yield from _passages(section.title[:MAX_TITLE_CHARACTERS], first, last, lines)
        first = last + 1


def _passages(title: str, first: int, last: int, lines: Sequence[str]) -> Iterator[Passage]:
    """The passage of these lines without empty lines around it; several if it is one long line."""
    while first < last and not lines[first - 1].strip():
        first += 1
    while last > first and not lines[last - 1].strip():
        last -= 1
    body = "\n".join(lines[first - 1 : last])
    for start in range(0, len(body), MAX_PASSAGE_CHARACTERS):
        text = body[start : start + MAX_PASSAGE_CHARACTERS].rstrip()
        if any(map(str.isalnum, text)):
            yield Passage(title=title, first_line=first, last_line=last, text=text)


def _last_line(lines: Sequence[str], first: int, end: int) -> int:
    """Where a passage that begins at `first` ends."""
    size, fits, at_gap = 0, first, None
    for number in range(first, end + 1):
        size += len(lines[number - 1]) + 1
        if size > MAX_PASSAGE_CHARACTERS + 1 and number > first:
            # Prefer an empty line in the second half to a full passage.
            return at_gap if at_gap is not None and at_gap - first >= (fits - first) // 2 else fits
        fits = number
        if not lines[number - 1].strip():
            at_gap = number
    return end


def _sections(path: str, lines: Sequence[str]) -> list[_Section]:
    """The sections of a file, in order and without gaps: the text under each title."""
    name = PurePosixPath(path)
    find = _BY_SUFFIX.get(name.suffix.lower(), _no_titles)
    starts = [(1, name.stem), *find(name, lines)]
    ends = [start - 1 for start, _ in starts[1:]] + [len(lines)]
    return [_Section(title, start, end) for (start, title), end in zip(starts, ends, strict=True) if start <= end]


def _no_titles(_name: PurePosixPath, _lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    return iter(())


def _markdown(_name: PurePosixPath, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Headings; a title is the path of headings down to it."""
    path: list[tuple[int, str]] = []
    fence: str | None = None
    for number, line in enumerate(lines, start=1):
        marker = _FENCE.match(line)
        if marker is not None and fence in (None, marker[1]):
            fence = None if fence else marker[1]
        heading = _HEADING.match(line) if fence is None else None
        if heading is not None:
            level = len(heading[1])
            path = [each for each in path if each[0] < level] + [(level, heading[2])]
            yield number, " > ".join(title for _, title in path)


def _restructured(_name: PurePosixPath, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Underlined lines; the kinds of underline get their levels in the order in which they appear."""
    kinds: list[str] = []
    path: list[tuple[int, str]] = []
    for number, (line, under) in enumerate(pairwise(lines), start=1):
        title, underline = line.strip(), _UNDERLINE.match(under)
        if not title or underline is None or _UNDERLINE.match(line) or len(under.rstrip()) < len(title):
            continue
        if underline[1] not in kinds:
            kinds.append(underline[1])
        level = kinds.index(underline[1])
        path = [each for each in path if each[0] < level] + [(level, title)]
        yield number, " > ".join(each for _, each in path)


def _python(name: PurePosixPath, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Functions, classes and methods, by qualified name; a file that does not parse has no sections."""
    try:
        tree = ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    module = name.parent.name if name.stem == "__init__" else name.stem
    yield from _definitions(tree.body, module, depth=0)


def _definitions(body: Sequence[ast.stmt], qualified: str, *, depth: int) -> Iterator[tuple[int, str]]:
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        title = f"{qualified}.{node.name}"
        yield min([node.lineno, *(each.lineno for each in node.decorator_list)]), title
        if isinstance(node, ast.ClassDef) and depth == 0:
            yield from _definitions(node.body, title, depth=1)
        following = (node.end_lineno or node.lineno) + 1
        if depth == 0:
            yield following, qualified


_BY_SUFFIX: dict[str, Callable[[PurePosixPath, Sequence[str]], Iterator[tuple[int, str]]]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".rst": _restructured,
    ".py": _python,
    ".pyi": _python,
}
