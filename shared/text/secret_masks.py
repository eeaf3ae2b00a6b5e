"""Hides what looks like a secret in texts that are kept or quoted: lessons, notes, passages of documents.

Rather too much than too little: what is hidden here is only missing from a quotation.
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "[hidden]"

_RUN_CHARACTERS = 32
_PEM = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL)
_URL_LOGIN = re.compile(r"(://)[^/@\s:]{0,200}:[^/@\s]{1,200}@")
_BEARER = re.compile(r"\b(bearer|basic)\s{1,3}[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"((passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)[\w.-]{0,40}+"
    r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?)"
    r"([^\s\"',;()]{6,}+)(?!\()",
    re.IGNORECASE,
)
_ALWAYS_SECRET = ("pass", "secret")
_LONG_VALUE = 16
_PREFIXED = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-|ghp_|gho_|ghu_|ghs_|github_pat_|glpat-|xox[abeoprs]-|AKIA|ASIA|AIza|npm_|hf_|eyJ)"
    r"[A-Za-z0-9_.-]{8,}"
)
# Begins where a run begins, so that a long run is looked at once.
_RUN = re.compile(rf"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_=-]{{{_RUN_CHARACTERS},}}")
_HEXADECIMAL = re.compile(rf"[0-9a-fA-F]{{{_RUN_CHARACTERS},}}")


def masked(text: str) -> str:
    """The text with `[hidden]` in place of what looks like a secret.

    That is: private keys, logins in URLs, bearer tokens, values given to names like `password`, the known forms of
    access tokens, and runs of 32 and more characters that are hexadecimal or mix digits with both cases. The number of
    lines stays.
    """
    text = _PEM.sub(lambda key: HIDDEN + "\n" * key.group().count("\n"), text)
    text = _URL_LOGIN.sub(rf"\1{HIDDEN}@", text)
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    text = _ASSIGNED.sub(_assigned, text)
    text = _PREFIXED.sub(HIDDEN, text)
    return _RUN.sub(lambda run: HIDDEN if _is_random(run.group()) else run.group(), text)


def excerpt(text: str, limit: int) -> str:
    """One masked line of at most `limit` characters."""
    line = " ".join(masked(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _assigned(found: re.Match[str]) -> str:
    """`token: Token` is a type, `token: x9f2` is not."""
    name, value = found[2].lower(), found[3]
    is_secret = name.startswith(_ALWAYS_SECRET) or len(value) >= _LONG_VALUE or any(map(str.isdigit, value))
    return f"{found[1]}{HIDDEN}" if is_secret else found[0]


def _is_random(run: str) -> bool:
    if _HEXADECIMAL.fullmatch(run):
        return True
    kinds = (any(map(test, run)) for test in (str.isdigit, str.isupper, str.islower))
    return all(kinds)
