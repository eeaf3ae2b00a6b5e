"""Characters that people do not see and models read."""

from __future__ import annotations

import re

from shared.text.invisible import is_ignorable

_TAGS = re.compile("[\U000e0020-\U000e007e]{2,}")
# Flags of regions are a black flag, tags, and the tag that ends them.
_FLAGS = re.compile("\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]{2,8}\U000e007f")
_OVERRIDES = re.compile("[\u202d\u202e]")
_STANDS_FOR_IGNORABLE = "\ufdd0"
_INVISIBLE_RUN = re.compile(_STANDS_FOR_IGNORABLE + "{6,}")
_SELECTOR_RUN = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")


def hides_text(text: str) -> bool:
    """Whether a text has tag characters outside of flags, overrides of the writing direction, or long invisible runs.

    Marks and isolates of right-to-left scripts, joiners within words and emoji, and a byte order mark are common in
    honest texts and no sign.
    """
    if text.isascii():
        return False
    if _TAGS.search(_FLAGS.sub("", text)):
        return True
    if any(pattern.search(text) is not None for pattern in (_OVERRIDES, _SELECTOR_RUN)):
        return True
    ignorable = {ord(each): _STANDS_FOR_IGNORABLE for each in set(text) if is_ignorable(each)}
    return bool(ignorable) and _INVISIBLE_RUN.search(_FLAGS.sub("", text).translate(ignorable)) is not None
