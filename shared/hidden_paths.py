"""Paths that tools of prompts may not read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

_IS_PATTERN = re.compile(r"[*?\[\]{}()!\\,\x00-\x1f\x7f]")
"""What the Claude CLI's permission rules take for a pattern, or for the end of a path."""


def _check(path: Path) -> Path:
    if not path.is_absolute() or path == Path("/") or ".." in path.parts:
        raise ValueError(f"not an absolute path below /: {path}")
    if _IS_PATTERN.search(str(path)):
        raise ValueError(f"one of its characters is a pattern in rules of the Claude CLI: {path}")
    return path


HiddenPath = Annotated[Path, AfterValidator(_check)]
"""Absolute, and of characters that a permission rule takes as they are."""
