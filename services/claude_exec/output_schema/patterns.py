"""Reads the regular expressions of a schema: their syntax as the CLI's JavaScript has it (flag `u`), and their size.

They are never run here. Where they run, in the CLI, one that does not come to an end costs its own prompt: the CLI is
killed by the prompt's time-outs.
"""

from __future__ import annotations

import re
from typing import Final

MAX_PATTERN_CHARACTERS: Final = 2_000
MAX_GROUPS_DEEP: Final = 50
MAX_REPETITIONS: Final = 65_535

_TOKEN = re.compile(
    r"""
      (?P<escape>\\(?:[dDsSwWfnrtv0^$\\.*+?()\[\]{}|/]|[1-9][0-9]{0,2}|c[A-Za-z]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}
                  |u\{[0-9A-Fa-f]{1,6}\}|[pP]\{[A-Za-z0-9_=]{1,64}\}|k<[\w$]{1,64}>))
    | (?P<edge>\\[bB]|[\^$])
    | (?P<open>\((?:\?(?::|<?[=!]|<[A-Za-z_$][\w$]{0,63}>|[ims]{0,3}(?:-[ims]{1,3})?:))?)
    | (?P<close>\))
    | (?P<class>\[(?:\\[bBdDsSwWpPkuxc0-9fnrtv^$\\.*+?()\[\]{}|/-]|[^\]\\])*\])
    | (?P<times>(?:[*+?]|\{(?P<least>[0-9]{1,20})(?:,(?P<most>[0-9]{0,20}))?\})\??)
    | (?P<or>\|)
    | (?P<literal>[^\\()\[\]{}*+?|])
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
"""One token; each alternative begins with another character, so that no position is read twice."""

_LOOKS_AROUND = re.compile(r"\(\?<?[=!]")
"""Groups that stand for a place, not for characters: nothing of them can be repeated."""


def wrong_pattern(pattern: str) -> str | None:
    """Why the CLI could not use an expression, or we do not let it; None if nothing is wrong."""
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        return f"is longer than {MAX_PATTERN_CHARACTERS} characters"
    position, groups, can_repeat = 0, list[bool](), False
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None or (token["open"] == "(" and pattern.startswith("?", token.end())):
            return f"is no regular expression of JavaScript (character {position + 1})"
        wrong = _wrong_token(token, groups, can_repeat=can_repeat)
        if wrong is not None:
            return f"{wrong} (character {position + 1})"
        if token["open"] is not None:
            groups.append(_LOOKS_AROUND.match(token[0]) is None)
        can_repeat = any(token[kind] is not None for kind in ("escape", "class", "literal"))
        if token["close"] is not None:
            can_repeat = groups.pop()
        position = token.end()
    return "has a group that is not closed" if groups else None


def _wrong_token(token: re.Match[str], groups: list[bool], *, can_repeat: bool) -> str | None:
    """Why a token cannot stand where it does; `groups` are those that are open, and whether they can be repeated."""
    if token["times"] is not None:
        if not can_repeat:
            return "repeats nothing"
        if any(int(token[bound] or 0) > MAX_REPETITIONS for bound in ("least", "most")):
            return f"repeats more than {MAX_REPETITIONS} times"
    elif token["open"] is not None and len(groups) >= MAX_GROUPS_DEEP:
        return f"has groups nested deeper than {MAX_GROUPS_DEEP}"
    elif token["close"] is not None and not groups:
        return "closes a group that is not open"
    return None
