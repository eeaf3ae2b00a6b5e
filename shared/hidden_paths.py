"""Paths that tools of prompts may not read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from pydantic_settings import NoDecode

_IS_PATTERN = re.compile(r"[*?\[\]{}()!\\,\x00-\x1f\x7f]")
"""What the Claude CLI's permission rules take for a pattern, or for the end of a path."""


def _with_targets(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """The paths, and where those that are links lead: looked at once, for a mount that hangs must not stop a worker."""
    found: list[Path] = []
    for path in paths:
        if not path.is_absolute() or str(path).startswith("//") or path == Path("/") or ".." in path.parts:
            raise ValueError(f"not an absolute path below /: {path}")
        try:
            found += (path, path.resolve())
        except (OSError, RuntimeError) as error:  # a link that leads to itself is a RuntimeError
            raise ValueError(f"{path} leads nowhere: {error}") from error
    for path in found:
        if _IS_PATTERN.search(str(path)):
            raise ValueError(f"one of its characters is a pattern in rules of the Claude CLI: {path}")
    return tuple(dict.fromkeys(found))


HiddenPaths = Annotated[tuple[Path, ...], NoDecode, AfterValidator(_with_targets)]
"""Absolute, of characters that a permission rule takes as they are, links with their targets."""
