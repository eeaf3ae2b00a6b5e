"""Paths that tools of prompts may not read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

_IS_PATTERN = re.compile(r"[*?\[\]{}()!\\,\x00-\x1f\x7f]")
"""What the Claude CLI's permission rules take for a pattern, or for the end of a path."""


def _check(path: Path) -> Path:
    if not path.is_absolute() or str(path).startswith("//") or path == Path("/") or ".." in path.parts:
        raise ValueError(f"not an absolute path below /: {path}")
    for each in hidden_names(path):
        if _IS_PATTERN.search(each):
            raise ValueError(f"one of its characters is a pattern in rules of the Claude CLI: {each}")
    return path


def hidden_names(path: Path) -> list[str]:
    """The names that a rule has to have for a path: its own, and where it leads if it is a link.

    Raises:
        ValueError: it leads nowhere.
    """
    try:
        return list(dict.fromkeys((str(path), str(path.resolve()))))
    except (OSError, RuntimeError) as error:  # a link that leads to itself is a RuntimeError
        raise ValueError(f"{path} leads nowhere: {error}") from error


HiddenPath = Annotated[Path, AfterValidator(_check)]
"""Absolute, and of characters that a permission rule takes as they are."""
