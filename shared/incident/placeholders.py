"""Values that stand for a secret and are none."""

from __future__ import annotations

import re
from collections import Counter
from math import log2
from typing import Final

_WORDS = re.compile(
    r"example|sample|dummy|fake|placeholder|changeme|change[_-]?me|your|my[_-]?(?:pass|secret|token|key|super)|insert"
    r"|replace|redacted|removed|todo|foobar|xxxx|\*\*\*|\.\.\.|…|<|>|\{|\}|\$\(|not[_-]?(?:a|real)"
    r"|notreal|test[_-]?only"
    r"|0123456|1234567|abcdef|qwerty|deadbeef|aaaa|0000000",
    re.IGNORECASE,
)
_PASSWORDS: Final = frozenset(
    [
        "password",
        "passwd",
        "pass",
        "pwd",
        "secret",
        "user",
        "guest",
        "admin",
        "root",
        "postgres",
        "test",
        "testing",
        "mysql",
        "token",
        "key",
        "apikey",
        "hunter2",
        "letmein",
        "s3cret",
        "s3cr3t",
        "none",
        "null",
        "true",
        "false",
        "required",
        "optional",
        "string",
        "str",
        "hidden",
        "masked",
        "empty",
        "value",
        "default",
    ]
)
_LEAST_DISTINCT = 6
_LEAST_SHARE = 0.25


def is_placeholder(value: str) -> bool:
    """Whether a value says itself that it is none, or repeats a few characters, or is a variable."""
    bare = value.strip("\"'`")
    if not bare or bare[0] in "$%<{[(" or bare.lower().strip("0123456789!") in _PASSWORDS:
        return True
    if _WORDS.search(bare):
        return True
    distinct = len(set(bare))
    return len(bare) >= _LEAST_DISTINCT and (distinct < _LEAST_DISTINCT or distinct < _LEAST_SHARE * min(len(bare), 40))


def entropy(value: str) -> float:
    """Shannon's, in bits a character."""
    counts = Counter(value)
    return -sum(count / len(value) * log2(count / len(value)) for count in counts.values())
