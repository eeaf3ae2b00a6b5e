"""Halves of characters: JSON escapes that may be spread over two texts, and that no record can hold alone."""

from __future__ import annotations

import re
from typing import Final

_HIGH_AT_THE_END: Final = re.compile("[\ud800-\udbff]\\Z")


def whole_characters(text: str) -> str:
    """The text with both halves of a character made one, and what stays alone as a question mark."""
    if text.isascii():
        return text
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return joined.encode("utf-8", "replace").decode()


def without_half_at_the_end(text: str) -> tuple[str, str]:
    """The text, and the first half of a character at its end, whose other half may follow in the next text."""
    found = _HIGH_AT_THE_END.search(text)
    return (text, "") if found is None else (text[: found.start()], found[0])
