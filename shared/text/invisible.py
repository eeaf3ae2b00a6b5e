"""Characters that a reader does not see, and a model may read.

By Unicode's categories and its property Default_Ignorable_Code_Point, not by what was seen in attacks: format
characters (tags among them), characters for private use, unassigned ones, and fillers, joiners and selectors besides.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_WITHOUT_A_LOOK: Final = frozenset({"Cf", "Cn", "Co", "Cs"})

# Of Default_Ignorable_Code_Point what is neither a format character nor unassigned: fillers, and variation selectors.
_IGNORABLE: Final = frozenset(
    chr(code)
    for codes in (
        (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180E, 0x180F, 0x3164, 0xFFA0),
        range(0xFE00, 0xFE10),
        range(0xE0100, 0xE01F0),
    )
    for code in codes
)
# Unassigned, and to be ignored when they are assigned one day.
_IGNORABLE_BLOCKS: Final = (range(0x2060, 0x2070), range(0xFFF0, 0xFFFC), range(0xE0000, 0xE1000))
# Format characters that are drawn: numbers stand on them, or under them.
_DRAWN: Final = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")

_NON_JOINER, _JOINER, _AS_TEXT, _AS_EMOJI = "\u200c", "\u200d", "\ufe0e", "\ufe0f"
_SPELLING: Final = frozenset({_NON_JOINER, _JOINER, _AS_TEXT, _AS_EMOJI})
_SPELLING_RUN: Final = re.compile("[\u200c\u200d\ufe0e\ufe0f]+")
_JOINING_SCRIPTS: Final = (
    *("ARABIC", "SYRIAC", "NKO", "MANDAIC", "MONGOLIAN", "PHAGS-PA", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI"),
    *("ORIYA", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "MYANMAR", "KHMER", "BALINESE", "JAVANESE"),
)
_KEYCAPS: Final = frozenset("0123456789#*")


def is_invisible(character: str) -> bool:
    """Whether a character shows nothing, or nobody can say what it shows."""
    if character in _DRAWN:
        return False
    return unicodedata.category(character) in _WITHOUT_A_LOOK or character in _IGNORABLE


def is_ignorable(character: str) -> bool:
    """Whether readers are to be shown nothing: narrower, without what shows as a box or an icon."""
    if character in _DRAWN:
        return False
    code = ord(character)
    return (
        unicodedata.category(character) == "Cf"
        or character in _IGNORABLE
        or any(code in block for block in _IGNORABLE_BLOCKS)
    )


def visible(text: str) -> str:
    """The text without any invisible character."""
    return _without(text, frozenset())


def readable(text: str) -> str:
    """The text without invisible characters, except where spelling needs one.

    That is one joiner or non-joiner between two letters of a script that joins them (Arabic, Devanagari and others),
    and the joiners and selectors of emoji sequences.
    """
    return _SPELLING_RUN.sub(_if_spelling, _without(text, _SPELLING))


def _without(text: str, kept: frozenset[str]) -> str:
    if text.isascii():
        return text
    dropped = {ord(each): None for each in set(text) if each not in kept and is_invisible(each)}
    return text.translate(dropped) if dropped else text


def _if_spelling(found: re.Match[str]) -> str:
    run, text = found[0], found.string
    before = text[found.start() - 1] if found.start() else " "
    after = text[found.end()] if found.end() < len(text) else " "
    if run in (_NON_JOINER, _JOINER) and _joins(before) and _joins(after):
        return run
    if run in (_JOINER, _AS_EMOJI + _JOINER) and _is_symbol(before) and _is_symbol(after):
        return run
    if run in (_AS_TEXT, _AS_EMOJI) and (_is_symbol(before) or before in _KEYCAPS):
        return run
    return ""


def _joins(character: str) -> bool:
    is_letter = unicodedata.category(character)[0] in "LM"
    return is_letter and unicodedata.name(character, "").startswith(_JOINING_SCRIPTS)


def _is_symbol(character: str) -> bool:
    return unicodedata.category(character) in ("So", "Sk", "Sm", "Po") and not character.isascii()
