"""Cuts a text into passages: short enough to be quoted, each with a title and the lines where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from services.sages.sections import Section, sections_of
from shared.documents import Passage
from shared.text.secret_masks import masked

CUTTING_VERSION: Final = 1
"""Rises when the same file would be cut otherwise, so that it counts as changed."""

MAX_PASSAGE_CHARACTERS: Final = 1200
MAX_TITLE_CHARACTERS: Final = 160

_LINE_END = re.compile(r"\r\n|\r|\n")


def cut(path: str, text: str) -> tuple[Passage, ...]:
    """The passages of a file, in order, secrets hidden; of one without words there are none.

    Passages end at the end of a section, else at an empty line, else where they would be too long. A line that is too
    long by itself becomes several passages.
    """
    # Other line ends that `splitlines` knows (form feeds among them) do not count in editors.
    lines = _LINE_END.split(masked(text))
    return tuple(passage for section in sections_of(path, lines) for passage in _pieces(section, lines))


def _pieces(section: Section, lines: Sequence[str]) -> Iterator[Passage]:
    first = section.first
    while first <= section.last:
        last = _last_line(lines, first, section.last)
        yield from _passages(section.title[:MAX_TITLE_CHARACTERS], first, last, lines)
        first = last + 1


def _passages(title: str, first: int, last: int, lines: Sequence[str]) -> Iterator[Passage]:
    """The passage of these lines, without empty ones around it; several if it is one line that is too long."""
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
            # A gap in the second half is a better end than a full passage.
            return at_gap if at_gap is not None and at_gap - first >= (fits - first) // 2 else fits
        fits = number
        if not lines[number - 1].strip():
            at_gap = number
    return end
