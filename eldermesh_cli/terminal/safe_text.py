"""Texts from outside as a terminal may show them: nothing in them moves the cursor, hides text or forges a line."""

from __future__ import annotations

import json
import re

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but \t and \n, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction
    "\u2028\u2029\ufff9-\ufffb"  # line ends and annotations
    "\U000e0000-\U000e007f"  # tags: invisible letters
    "\ud800-\udfff]"  # halves of characters, among them bytes of names that are no UTF-8
)
_HALVES = re.compile("[\ud800-\udfff]")
_MOST_IN_A_LINE = 200
_FIRST_BYTE, _LAST_BYTE = "\udc80", "\udcff"


def terminal_text(text: str) -> str:
    """A text with everything replaced that is an order to a terminal; line ends and tabs stay."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def is_text(given: str) -> bool:
    """Whether what the system gave as an argument, a variable or a name is UTF-8."""
    return given.isascii() or not _HALVES.search(given)


def terminal_json(line: str) -> str:
    """A line of JSON with the same value, in which none of these characters stands as itself."""
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], line)


def shortened(text: str, limit: int = 80) -> str:
    """A text of so many characters at most; a longer one ends in an ellipsis."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def in_one_line(text: str) -> str:
    """A text that shares a line with others: shortened, and without line breaks."""
    return shortened(" ".join(text.split()), _MOST_IN_A_LINE)


def escaped_name(name: object) -> str:
    r"""A name or argument in one line: what cannot be printed is escaped, bytes that are no UTF-8 as `\xe9`."""
    return "".join(_escaped(character) for character in str(name))


def _escaped(character: str) -> str:
    if _FIRST_BYTE <= character <= _LAST_BYTE:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
