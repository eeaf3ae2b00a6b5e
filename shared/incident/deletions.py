"""Commands that delete trees of files, and how much is at the place that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from shared.incident.verdict import Severity

_RM = re.compile(r"(?<![\w.-])rm((?:[ \t]{1,4}[^\s;|&`<>]{1,200}){1,12})")
_IN_CODE = re.compile(
    r"\b(?:shutil\.rmtree|os\.removedirs|fs\.rmSync|FileUtils\.rm_rf)\(\s{0,2}[\"']([^\"']{1,200})[\"']"
    r"|\bfind\s{1,3}(/\S{0,100}|~\S{0,100})[^\n|;]{0,120}?(?:-delete|-exec\s{1,3}(?:sudo\s{1,3})?rm)\b",
    re.IGNORECASE,
)
_WINDOWS = re.compile(
    r"\b(?:del|rd|rmdir|remove-item)\b(?=[^\n]{0,80}(?:/s"
    r"|-recurse))[^\n]{0,80}?[\s\"']([a-z]:\\(?:\*|windows\\?|users\\?)?)(?=[\s\"'`.*]|$)",
    re.IGNORECASE,
)
_HOMES = re.compile(r"(?:~|\$\{?HOME\}?|/home(?:/[\w.-]{1,64})?|/root|/Users(?:/[\w.-]{1,64})?)(?:/\.?\*?)?")
_SYSTEM = frozenset(
    {
        *("bin", "boot", "dev", "etc", "lib", "lib64", "opt", "proc", "root", "sbin", "srv", "sys", "usr", "var"),
        *("mnt", "media", "data"),
    }
)
_SCRATCH = re.compile(r"/(?:tmp|var/tmp|dev/shm|var/cache|private/tmp)/[^*]")
_RECURSIVE = re.compile(r"-[a-zA-Z]{0,8}[rR][a-zA-Z]{0,8}|--recursive|--no-preserve-root")
_HERE: Final = frozenset({".", "..", "*", "./", "../", "./*", "../*", ".*", ".git", "./.git", ".git/"})
_PUNCTUATION = ",;:!?)\"'`]}"


def deletion_targets(text: str) -> Iterator[tuple[int, int, Severity]]:
    """Where a text names such a command whose target is large: begin, end, severity."""
    for found in _RM.finditer(text):
        words = found[1].split()
        # A flag may follow its targets.
        if not any(_RECURSIVE.fullmatch(word.strip(_PUNCTUATION)) for word in words):
            continue
        severity = _worst(word for word in words if not word.startswith("-"))
        if severity is not None:
            yield found.start(), _end_of_command(found), severity
    for found in _IN_CODE.finditer(text):
        severity = _worst(iter([found[1] or found[2]]))
        if severity is not None:
            yield found.start(), found.end(), severity
    for found in _WINDOWS.finditer(text):
        yield found.start(), found.end(), "critical"


def _end_of_command(found: re.Match[str]) -> int:
    """Behind the last word that looks like a flag or a path: what follows is prose."""
    end = found.start(1)
    for word in re.finditer(r"\S+", found[1]):
        if word[0][0] in "-/~.$*\"'" or "/" in word[0]:
            end = found.start(1) + word.end()
    return end


def _worst(targets: Iterator[str]) -> Severity | None:
    judged = [severity for target in targets if (severity := _severity(target)) is not None]
    return "critical" if "critical" in judged else "high" if judged else None


def _severity(word: str) -> Severity | None:
    """How much a target holds: all of a machine or a home, a part of a system, or nothing that matters here."""
    bare = word.lstrip("\"'(`").rstrip(_PUNCTUATION)
    target = bare if bare in _HERE else bare.rstrip(".") or bare
    if target in ("/", "/*", "/.*", "//") or _HOMES.fullmatch(target):
        return "critical"
    if target in _HERE:
        return "high"
    if not target.startswith("/") or _SCRATCH.match(target):
        return None
    parts = [part for part in target.split("/") if part and part != "*"]
    if not parts or parts[0] not in _SYSTEM:
        return None
    return "critical" if len(parts) == 1 else "high"
