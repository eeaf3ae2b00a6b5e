"""The texts of a job, and how they are read."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from shared.text.invisible import visible

WINDOW: Final = 2_000
"""Characters of a line that a detector sees at once: some of its expressions take time that grows with the square."""

OVERLAP: Final = 300
"""What two windows of a line share: longer than any token that is looked for, but a JWT."""


def texts_of(value: JsonValue) -> Iterator[str]:
    """All texts in a value; names of fields with a text stand before it, as in `name: value`."""
    stack: list[tuple[str, JsonValue]] = [("", value)]
    while stack:
        name, current = stack.pop()
        if isinstance(current, str):
            yield f"{name}: {current}" if name else current
        elif isinstance(current, Mapping):
            stack.extend((str(key), inner) for key, inner in reversed(list(current.items())))
        elif isinstance(current, Sequence):
            stack.extend((name, inner) for inner in reversed(current))


def prompt_in(item: JsonValue) -> str | None:
    """The prompt of an item of `claude`; None if it has none."""
    prompt = item.get("prompt") if isinstance(item, Mapping) else item
    return prompt if isinstance(prompt, str) else None


def windows(text: str) -> Iterator[str]:
    """Lines, several at once where they are short; long ones in pieces that overlap."""
    gathered: list[str] = []
    size = 0
    for line in filter(None, text.splitlines()):
        if gathered and size + len(line) > WINDOW:
            yield "\n".join(gathered)
            gathered, size = [], 0
        if len(line) <= WINDOW:
            gathered.append(line)
            size += len(line) + 1
        else:
            for start in range(0, len(line), WINDOW - OVERLAP):
                yield line[start : start + WINDOW]
    if gathered:
        yield "\n".join(gathered)


def may_hold(lowered: str, needles: Sequence[str]) -> bool:
    """Whether a text has one of these at all, which is told a hundred times as fast as what an expression finds."""
    return any(needle in lowered for needle in needles)


def plain(text: str) -> str:
    """As a reader sees it: compatibility forms folded, invisible characters gone, typographic quotes straight."""
    folded = text if text.isascii() else visible(unicodedata.normalize("NFKC", visible(text)))
    return folded.translate(_STRAIGHT)


_STRAIGHT = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"})
