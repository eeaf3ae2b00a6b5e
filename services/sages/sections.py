"""The sections of a text: what stands under one title, by the kind of file."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")
_FENCE = re.compile(r"\s{0,3}(```|~~~)")
_UNDERLINE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}\s*$")


@dataclass(frozen=True, slots=True)
class Section:
    """Lines `first..last` of a file, counted from 1."""

    title: str
    first: int
    last: int


def sections_of(path: str, lines: Sequence[str]) -> list[Section]:
    """The sections of a file, in the order of its lines and without gaps."""
    name = PurePosixPath(path)
    find = _BY_SUFFIX.get(name.suffix.lower(), _no_titles)
    starts = [(1, name.stem), *find(name, lines)]
    ends = [start - 1 for start, _ in starts[1:]] + [len(lines)]
    return [Section(title, start, end) for (start, title), end in zip(starts, ends, strict=True) if start <= end]


def _no_titles(_name: PurePosixPath, _lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    return iter(())


def _markdown(_name: PurePosixPath, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """A title is the path of headings down to it."""
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
    """Underlined lines; the order in which the kinds of underlines appear makes their levels."""
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
    """Functions, classes and their methods, by qualified name; what does not parse has no sections."""
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
