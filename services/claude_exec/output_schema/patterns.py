"""Checks the regular expressions of a schema: JavaScript's syntax with the flag `u`, and their size.

They run only in the CLI. One that never ends costs only its own prompt, whose time-outs kill the CLI.
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
"""One token. Its alternatives begin with different characters, so that no position is read twice."""

_LOOKS_AROUND = re.compile(r"\(\?<?[=!]")
"""Lookarounds match a position, not characters, so they cannot be repeated."""


def wrong_pattern(pattern: str) -> str | None:
    """Why an expression is refused; None if it is not."""
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
    """Why a token is wrong at its place; `groups` has, for each open group, whether it can be repeated."""
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
